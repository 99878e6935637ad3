/**
 * Documents name only files that exist, and the decisions are numbered without gaps. Comments cite what a reader of
 * the repository has; the specification is public, and `docs/protocol.md` has a row for each of its sections.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { REFUSAL_CODES } from '../../src/errors.ts'

const ROOT = join(import.meta.dirname, '../..')
const DOCUMENTS = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...globSync('docs/**/*.md', { cwd: ROOT })]
/** `src/...`, `test/...`, `docs/...`, `scripts/...` in backquotes; a `*` or an ellipsis is not a file. */
const QUOTED_PATH = /`((?:src|test|docs|scripts)\/[\w./-]*\w\/?)`/g
const LINK = /\]\(([^)#:]+)\)/g

const CODE = globSync('{src,test,scripts}/**/*.ts', { cwd: ROOT })
/** Documents from before the repository. */
const OUT_OF_REACH = /\b(?:reference \d+(?:\.\d+)?|DESIGN(?:\.md|\s)|failure F\d+|platform fact \d+)/g
const SPECIFICATION = /\bspecification,? (?:section )?((?:\d+(?:\.\d+)?(?:, | and | to )?)+)/gi
const CITED_DOCUMENT = /\bdocs\/[\w/.-]+\.md\b/g

describe.each(DOCUMENTS)('%s', (document) => {
  const text = readFileSync(join(ROOT, document), 'utf8')

  it(`${document} names files that exist`, () => {
    const quoted = [...text.matchAll(QUOTED_PATH)].map((match) => match[1] ?? '')
    const linked = [...text.matchAll(LINK)].map((match) => join(dirname(document), match[1] ?? ''))
    expect([...quoted, ...linked].filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })
})

/** Those of the specification, as they are numbered there. */
const SECTIONS = [
  ...sections(1, 3),
  ...sections(2, 2),
  ...sections(3, 3),
  ...sections(4, 2),
  ...sections(5, 4),
  ...sections(6, 5),
  ...sections(7, 4),
  ...sections(8, 4),
  ...sections(9, 2),
  ...sections(10, 3),
  ...sections(11, 3),
  ...sections(12, 4),
  ...sections(13, 5),
]

function sections(chapter: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${chapter}.${index + 1}`)
}

describe('documents', () => {
  it('documents have a row for every section of the specification', () => {
    const protocol = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
    const table = protocol.slice(0, protocol.indexOf("What is the client's alone"))
    const rows = [...table.matchAll(/^\| ((?:\d+\.\d+(?:, )?)+) /gm)].flatMap(
      (match) => match[1]?.split(', ') ?? [],
    )
    expect(rows).toEqual(SECTIONS)
    for (const appendix of ['A', 'B', 'C'])
      expect(table).toMatch(new RegExp(`^\\| appendix ${appendix}[ .]`, 'm'))
  })

  it('documents number the decisions without gaps', () => {
    const numbers = globSync('docs/decisions/*.md', { cwd: ROOT })
      .map((path) => Number(/(\d+)-/.exec(path)?.[1]))
      .toSorted((a, b) => a - b)
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  })

  it('documents explain every code that a request is refused with, and no other', () => {
    const protocol = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
    const table = protocol.slice(
      protocol.indexOf('## Answers to a CONNECT'),
      protocol.indexOf('## Where documents'),
    )
    const codes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])
    expect(codes.toSorted()).toEqual(['auth_required', ...REFUSAL_CODES].toSorted())
  })
})

describe('comments', () => {
  const files = CODE.map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
  const cited = (pattern: RegExp): { path: string; text: string }[] =>
    files.flatMap(({ path, text }) =>
      [...text.matchAll(pattern)].map(([all, group = all]) => ({ path, text: group })),
    )

  it('comments cite no document that the repository does not hold', () => {
    expect(cited(OUT_OF_REACH)).toEqual([])
    expect(cited(CITED_DOCUMENT).filter(({ text }) => !existsSync(join(ROOT, text)))).toEqual([])
  })

  it('comments cite sections that the specification has', () => {
    const known = new Set(SECTIONS.flatMap((section) => [section, section.split('.')[0]]))
    const found = cited(SPECIFICATION).flatMap(({ path, text }) =>
      text.split(/, | and | to /).flatMap((section) => (section === '' ? [] : [{ path, section }])),
    )
    expect(found.length).toBeGreaterThan(20)
    expect(found.filter(({ section }) => !known.has(section))).toEqual([])
  })

  it('a comment that cites what nobody has would be noticed', () => {
    // Assembled here, because this file is checked too.
    for (const words of [
      ['reference', '1.4'],
      ['platform fact', '5'],
      ['failure', 'F19'],
    ])
      expect(words.join(' ')).toMatch(OUT_OF_REACH)
  })
})
