/** What a decoy site serves, wherever it is kept. */

export interface SiteFile {
  readonly kind: 'file'
  readonly sizeBytes: number
  readonly modifiedMs: number
  /** Up to `length` bytes from `offset`, in a buffer that is the caller's; empty at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>
  /** Gives back what it holds until the next `read`, which rejects when the file is another by then. Never rejects. */
  rest(): Promise<void>
  /** To be called on every path. Idempotent; never rejects. */
  close(): Promise<void>
}

export type SiteEntry =
  | SiteFile
  | { readonly kind: 'directory' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'forbidden' }
  /** Out of file descriptors or the like. */
  | { readonly kind: 'failed'; readonly cause: unknown }

export interface SiteFiles {
  /** `path` as `parseSitePath` makes it, without a slash at the end except for the root. Never rejects. */
  find(path: string): Promise<SiteEntry>
}

export const MISSING: SiteEntry = { kind: 'missing' }
export const FORBIDDEN: SiteEntry = { kind: 'forbidden' }
export const DIRECTORY: SiteEntry = { kind: 'directory' }
