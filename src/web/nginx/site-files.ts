/** The files that a decoy site serves, wherever they are kept. */

export interface SiteFile {
  readonly kind: 'file'
  readonly sizeBytes: number
  readonly modifiedMs: number
  /** Up to `length` bytes from `offset`, in a buffer that belongs to the caller; empty at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>
  /**
   * Gives back what it holds until the next `read`, which rejects if the file has been replaced by then. Never rejects.
   */
  rest(): Promise<void>
  /** Must be called on every path. Idempotent; never rejects. */
  close(): Promise<void>
}

export type SiteEntry =
  | SiteFile
  | { readonly kind: 'directory' }
  | { readonly kind: 'missing' }
  | { readonly kind: 'forbidden' }
  /** For example when no file descriptors are left. */
  | { readonly kind: 'failed'; readonly cause: unknown }

export interface SiteFiles {
  /** `path` as `parseSitePath` returns it, without a slash at the end except for the root. Never rejects. */
  find(path: string): Promise<SiteEntry>
}

export const MISSING: SiteEntry = { kind: 'missing' }
export const FORBIDDEN: SiteEntry = { kind: 'forbidden' }
export const DIRECTORY: SiteEntry = { kind: 'directory' }
