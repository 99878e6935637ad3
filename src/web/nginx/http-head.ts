/**
 * The head of an HTTP/1 request out of bytes that no HTTP stack of ours will see: a plain request on the TLS port.
 * Lines and their parts are found here, `head-judge.ts` says what nginx thinks of them.
 */
import { BAD, HeadJudge, TOO_LARGE } from './head-judge.ts'
import type { HeadVerdict } from './head-judge.ts'

/** More are refused as too large, though nginx looks at the size alone: nobody sends so many. */
const MAX_FIELDS = 100

const REQUEST_LINE = /^([A-Z_-]+) +([^ ]+)(?: +HTTP\/([1-9]\d?)\.(\d{1,2}) *)?$/
/** What a request line may be so far: for saying no before its end. */
const BEGINNING = /^(?:[A-Z_-]*|[A-Z_-]+ +(?:[/A-Za-z].*)?)$/s

/** Push chunks until there is a verdict; partial input is bounded by the judge's limits. */
export class HeadReader {
  readonly #judge = new HeadJudge()
  #line = ''
  #fieldCount = 0

  /** Undefined: more is needed. */
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
