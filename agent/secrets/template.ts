/**
 * Templates of configuration files. `{{ secret "NAME" | FILTER ... }}` stands for a value, `{{ "TEXT" }}` for the text (and so for braces);
 * everything else stays as it is. Strict: what is not understood is an error with its line and column, never an empty place in a file.
 */
import { concat, fromUtf8, utf8 } from '../../crypto/bytes.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { parseReference, referenceText, type SecretReference, uniqueReferences } from './reference.ts'
import { FILTERS, type Filter } from './template-filters.ts'

interface Place {
  readonly line: number
  readonly column: number
}

type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'secret'
      readonly reference: SecretReference
      readonly filters: readonly { readonly name: string; readonly apply: Filter }[]
      readonly place: Place
    }

const OPEN = '{{'
const CLOSE = '}}'
const WHITE = /^\s+/
/** Without escapes: neither a name nor a brace needs one. */
const STRING = /^"([^"\n]*)"/
const WORD = /^[A-Za-z_][A-Za-z0-9_]*/

export class Template {
  readonly #pieces: readonly Piece[]
  readonly #path: string

  /** @param path for errors. @throws UserError E_TEMPLATE */
  constructor(text: string, path: string) {
    this.#path = path
    this.#pieces = parse(text, path)
  }

  get references(): SecretReference[] {
    return uniqueReferences(
      this.#pieces.flatMap((piece) => (piece.kind === 'secret' ? [piece.reference] : [])),
    )
  }

  /** Where the template wants it, as an editor takes it. */
  placesOf(reference: SecretReference): string[] {
    const wanted = referenceText(reference)
    return this.#pieces.flatMap((piece) =>
      piece.kind === 'secret' && referenceText(piece.reference) === wanted
        ? [at(this.#path, piece.place)]
        : [],
    )
  }

  /** Bytes with values in them, for the caller to wipe. @throws UserError E_TEMPLATE for a value that a filter does not take. */
  render(read: (reference: SecretReference) => Uint8Array): Uint8Array {
    const parts = this.#pieces.map((piece) => {
      if (piece.kind === 'text') return utf8(piece.text)
      return piece.filters.reduce((value, { name, apply }) => {
        const filtered = apply(value)
        if (filtered !== undefined) return filtered
        throw wrong(
          this.#path,
          piece.place,
          `${name} does not take the value of ${referenceText(piece.reference)}`,
        )
      }, read(piece.reference))
    })
    return concat(...parts)
  }
}

/** @throws UserError E_TEMPLATE if the bytes are no text. */
export function parseTemplate(bytes: Uint8Array, path: string): Template {
  let text: string
  try {
    text = fromUtf8(bytes)
  } catch {
    throw wrong(path, { line: 1, column: 1 }, 'the template is not UTF-8')
  }
  return new Template(text, path)
}

function parse(text: string, path: string): Piece[] {
  const pieces: Piece[] = []
  let done = 0
  for (;;) {
    const open = text.indexOf(OPEN, done)
    if (open < 0) return [...pieces, { kind: 'text', text: text.slice(done) }]
    pieces.push({ kind: 'text', text: text.slice(done, open) })
    const scanner = new Scanner(text, open + OPEN.length, path)
    pieces.push(expression(scanner, placeOf(text, open)))
    done = scanner.at
  }
}

function expression(scanner: Scanner, place: Place): Piece {
  const literal = scanner.take(STRING)
  if (literal !== undefined) {
    scanner.close()
    return { kind: 'text', text: literal }
  }
  const word = scanner.take(WORD)
  if (word !== 'secret')
    throw scanner.wrong(word === undefined ? 'secret "NAME" is missing' : `there is no ${word}`)
  const name = scanner.take(STRING)
  if (name === undefined) throw scanner.wrong('after secret comes its name, in double quotes')
  const reference = scanner.attempt(() => parseReference(name, 'secret'))
  const filters: { name: string; apply: Filter }[] = []
  while (scanner.take(/^(\|)/) !== undefined) {
    const filter = scanner.take(WORD)
    const apply = filter !== undefined && Object.hasOwn(FILTERS, filter) ? FILTERS[filter] : undefined
    if (filter === undefined || apply === undefined)
      throw scanner.wrong(`after | comes one of ${Object.keys(FILTERS).join(', ')}`)
    filters.push({ name: filter, apply })
  }
  scanner.close()
  return { kind: 'secret', reference, filters, place }
}

/** Reads one expression, word by word. */
class Scanner {
  at: number
  readonly #text: string
  readonly #path: string
  #last: number

  constructor(text: string, at: number, path: string) {
    this.#text = text
    this.#path = path
    this.at = at
    this.#last = at
  }

  /** What the pattern finds here, its first group if it has one. */
  take(pattern: RegExp): string | undefined {
    this.at += WHITE.exec(this.#text.slice(this.at))?.[0].length ?? 0
    this.#last = this.at
    const found = pattern.exec(this.#text.slice(this.at))
    if (found === null) return undefined
    this.at += found[0].length
    return found[1] ?? found[0]
  }

  close(): void {
    if (this.take(/^\}\}/) === undefined) throw this.wrong(`the placeholder is not closed by ${CLOSE} here`)
  }

  /** At the word that was read last, or was to be. */
  wrong(why: string): UserError {
    return wrong(this.#path, placeOf(this.#text, this.#last), why)
  }

  attempt<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw error instanceof UserError ? this.wrong(error.message) : error
    }
  }
}

function placeOf(text: string, at: number): Place {
  const before = text.slice(0, at).split('\n')
  return { line: before.length, column: [...(before.at(-1) ?? '')].length + 1 }
}

const at = (path: string, { line, column }: Place): string => `${path}:${line}:${column}`

const wrong = (path: string, place: Place, why: string): UserError =>
  new UserError({
    code: 'E_TEMPLATE',
    message: `${at(path, place)}: ${why}`,
    fix: 'clawnode render --help says what a template may hold; a brace itself is {{ "{{" }}',
    exitCode: EXIT.badConfig,
  })
