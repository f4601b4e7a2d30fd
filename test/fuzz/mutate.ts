/** Spoils valid messages, reproducibly: the same seed spoils the same way. */

/** mulberry32: small, and good enough to choose what to break. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0]
  }
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

const deep = (levels: number): Json => {
  let value: Json = 1
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value }
  return value
}

/** Values that parsers and databases have stumbled over. */
const ODD: readonly [Json, ...Json[]] = [
  null,
  true,
  '',
  0,
  -1,
  -0,
  1.5,
  1e308,
  2 ** 53,
  -(2 ** 63),
  Number.MAX_SAFE_INTEGER,
  [],
  {},
  deep(20),
  deep(400),
  { __proto__x: 1, constructor: { prototype: 1 } },
  'NaN',
  '\u0000',
  '\ud800',
  'ﬀ\u202e𝒶',
  "'; DROP TABLE nodes; --",
  '../../../etc/passwd',
  '%s%n%x',
  'A'.repeat(43),
  'A'.repeat(2000),
  '-----BEGIN PRIVATE KEY-----',
]

const KEYS = [
  'type',
  'id',
  'node',
  'private_key',
  '__proto__',
  'constructor',
  '',
  'a\u0000b',
  'toString',
] as const

/** One change somewhere in the value: another type, a missing or surprising field, an odd value. */
export function mutateJson(dice: Dice, value: Json): Json {
  if (Array.isArray(value) && value.length > 0 && dice.below(4) > 0) {
    const index = dice.below(value.length)
    return value.map((item, at) => (at === index ? mutateJson(dice, item) : item))
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && dice.below(8) > 0) {
    return mutateObject(dice, value as { readonly [key: string]: Json })
  }
  return dice.pick(ODD)
}

function mutateObject(dice: Dice, value: { readonly [key: string]: Json }): Json {
  const entries = Object.entries(value)
  const index = dice.below(Math.max(1, entries.length))
  switch (dice.below(5)) {
    case 0:
      return Object.fromEntries(entries.filter((_, at) => at !== index))
    case 1:
      return Object.fromEntries([...entries, [dice.pick(KEYS), dice.pick(ODD)]])
    case 2:
      return Object.fromEntries(
        entries.map(([key, item], at) => [at === index ? dice.pick(KEYS) : key, item]),
      )
    default:
      return Object.fromEntries(
        entries.map(([key, item], at) => [key, at === index ? mutateJson(dice, item) : item]),
      )
  }
}

/** One change of the text itself: a bit, a cut, a repetition, a foreign character. */
export function mutateText(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1)
  const upTo = at + dice.below(8)
  switch (dice.below(6)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return text.slice(0, at) + text.slice(upTo)
    case 2:
      return text.slice(0, upTo) + text.slice(at)
    case 3:
      return (
        text.slice(0, at) +
        dice.pick(['\u0000', '"', '{', '\\', '\ud83d', '\u2028', '.', '=', '\n']) +
        text.slice(at)
      )
    case 4:
      return text.slice(at) + text.slice(0, at)
    default:
      return (
        text.slice(0, at) +
        String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << dice.below(7))) +
        text.slice(at + 1)
      )
  }
}

/** JSON text of the value after a change of either kind, sometimes of both. */
export function mutateMessage(dice: Dice, value: Json): string {
  const kind = dice.below(4)
  const text = JSON.stringify(kind === 0 ? value : mutateJson(dice, value))
  return kind < 2 ? mutateText(dice, text) : text
}
