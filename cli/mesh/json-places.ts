/** Where in a JSON text each of its values stands, so that a problem can be told as an editor finds it: FILE:LINE:COLUMN. */
import { placeOf } from '../../protocol/mesh-policy.ts'

export interface TextPlace {
  readonly line: number
  readonly column: number
}

export interface JsonPlaces {
  readonly places: ReadonlyMap<string, TextPlace>
  /** Fields that one object has twice: of those JSON keeps the last and says nothing. */
  readonly repeated: readonly string[]
}

type Step = string | number

/** @param text which JSON.parse has accepted. */
export function findPlaces(text: string): JsonPlaces {
  const places = new Map<string, TextPlace>()
  const repeated: string[] = []
  const tokens = [...text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g)]
  let next = 0
  const take = (): string => tokens[next++]?.[0] ?? ''
  const peek = (): string => tokens[next]?.[0] ?? ''
  const note = (path: readonly Step[]): void => {
    const place = placeOf(path)
    if (places.has(place)) repeated.push(place)
    places.set(place, lineAndColumn(text, tokens[next]?.index ?? 0))
  }
  const value = (path: readonly Step[]): void => {
    const first = take()
    if (first === '[') {
      for (let index = 0; peek() !== ']'; index++) {
        note([...path, index])
        value([...path, index])
        if (peek() === ',') take()
      }
      take()
    } else if (first === '{') {
      while (peek() !== '}') {
        const key: string = JSON.parse(peek())
        note([...path, key])
        take()
        take()
        value([...path, key])
        if (peek() === ',') take()
      }
      take()
    }
  }
  note([])
  value([])
  return { places, repeated }
}

/** The place itself, or of what is missing there the place around it. */
export function nearestPlace({ places }: JsonPlaces, at: string): TextPlace {
  for (let place = at; place !== ''; place = place.replace(/(?:^|\.)[^.[\]]+$|\[[^[\]]*\]$/, '')) {
    const found = places.get(place)
    if (found !== undefined) return found
  }
  return { line: 1, column: 1 }
}

function lineAndColumn(text: string, offset: number): TextPlace {
  const before = text.slice(0, offset)
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') }
}
