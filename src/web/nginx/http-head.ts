/**
 * Reads the head of an HTTP/1 request from bytes that none of our HTTP stacks will see: a plain request on the TLS
 * port. This file finds the lines and their parts; `head-judge.ts` says what nginx makes of them.
 */
import { BAD, HeadJudge, TOO_LARGE } from './head-judge.ts'
import type { HeadVerdict } from './head-judge.ts'

/** Heads with more are refused as too large. nginx looks at the size alone, but nobody sends that many. */
const MAX_FIELDS = 100

const REQUEST_LINE = /^([A-Z_-]+) +([^ ]+)(?: +HTTP\/([1-9]\d?)\.(\d{1,2}) *)?$/
/** What the beginning of a request line may look like, so that a bad one is refused before its end. */
const BEGINNING = /^(?:[A-Z_-]*|[A-Z_-]+ +(?:[/A-Za-z].*)?)$/s

/** Push chunks until there is a verdict; the judge's limits bound partial input. */
export class HeadReader {
  readonly #judge = new HeadJudge()
  #line = ''
  #fieldCount = 0

  /** Undefined means that more is needed. */
  push(chunk: Buffer): HeadVerdict | undefined {
    let text = chunk.toString('latin1')
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = this.#line + text.slice(0, end)
      this.#line = ''
      text = text.slice(end + 1)
      const verdict = this.#judge.takeLine(line.length) ?? this.#take(line.replace(/\r$/, ''), text.length)
      if (verdict) return verdict
    }
    this.#line += text
    const overlong = this.#judge.overlong(this.#line.length)
    if (overlong) return overlong
    const partial = this.#line.trimStart()
    return !this.#judge.hasRequest && !BEGINNING.test(partial) ? BAD : undefined
  }

  #take(line: string, restBytes: number): HeadVerdict | undefined {
    if (!this.#judge.hasRequest) return line === '' ? undefined : this.#takeRequestLine(line)
    if (line === '') return this.#judge.finish(restBytes)
    if (++this.#fieldCount > MAX_FIELDS) return TOO_LARGE
    const colon = line.indexOf(':')
    return colon < 0
      ? this.#judge.takeField(line, '')
      : this.#judge.takeField(line.slice(0, colon), line.slice(colon + 1))
  }

  #takeRequestLine(line: string): HeadVerdict | undefined {
    const match = REQUEST_LINE.exec(line)
    if (!match) return BAD
    const [, method = '', target = '', major, minor] = match
    const version = major === undefined ? undefined : { major: Number(major), minor: Number(minor) }
    return this.#judge.takeRequest({ method, target, version })
  }
}
