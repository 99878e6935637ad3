/**
 * The site of an operator who has set none: one short page that names nobody. Every such endpoint shows the same page,
 * so an operator who minds being found should set a site of their own (`docs/camouflage.md`).
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

/** The same in every lane and after every start, like a file that nobody touches. */
const MODIFIED_MS = Date.UTC(2026, 2, 4, 5, 6, 7)

export class DefaultSite implements SiteFiles {
  readonly #page: SiteFile
  readonly #path: string

  /** `modifiedMs` becomes `last-modified`; `index` is the name of the only file. */
  constructor(modifiedMs = MODIFIED_MS, index = 'index.html') {
    this.#path = `/${index}`
    this.#page = {
      kind: 'file',
      sizeBytes: PAGE.length,
      modifiedMs,
      read: (offset, length) => Promise.resolve(PAGE.subarray(offset, offset + length)),
      rest: () => Promise.resolve(),
      close: () => Promise.resolve(),
    }
  }

  find(path: string): Promise<SiteEntry> {
    if (path === '/') return Promise.resolve({ kind: 'directory' })
    return Promise.resolve(path === this.#path ? this.#page : MISSING)
  }
}
