/** What a byte does to the line that it belongs to. Numbers, because there is one for every byte. */
export const EndOfLine = {
  more: 0,
  /** The line is complete. */
  done: 1,
  /** The line is complete, and it is the empty one that ends the head. */
  last: 2,
  bad: 3,
  /** The line is sound but for a version that is not HTTP/1. */
  badVersion: 4,
} as const

export type EndOfLine = (typeof EndOfLine)[keyof typeof EndOfLine]
