/**
 * The site of an operator who has set none: one short page that names nobody. Since every such endpoint would
 * show the same page, an operator who minds being found should set one of his own (`docs/camouflage.md`).
 */
import { MISSING } from './site-files.ts'
import type { SiteEntry, SiteFile, SiteFiles } from './site-files.ts'

const PAGE = Buffer.from(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Home</title>
</head>
<body>
<h1>Home</h1>
<p>There is nothing here yet.</p>
</body>
</html>
`)

export class DefaultSite implements SiteFiles {
  readonly #page: SiteFile

  /** `modifiedMs` becomes `last-modified`. */
  constructor(modifiedMs: number) {
    this.#page = {
      kind: 'file',
      sizeBytes: PAGE.length,
      modifiedMs,
      read: (offset, length) => Promise.resolve(PAGE.subarray(offset, offset + length)),
      close: () => Promise.resolve(),
    }
  }

  find(path: string): Promise<SiteEntry> {
    if (path === '/') return Promise.resolve({ kind: 'directory' })
    return Promise.resolve(path === '/index.html' ? this.#page : MISSING)
  }
}
