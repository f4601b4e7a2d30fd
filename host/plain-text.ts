/**
 * Text of other machines on its way to a terminal: control characters (C1 among them, which terminals obey as they do an escape), and those
 * that turn the order of letters around, must not reach it.
 */
const STEERING = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/** Of one line. */
export const plainText = (text: string): string => text.replace(STEERING, '?')

export const plainLines = (text: string): string => text.split('\n').map(plainText).join('\n')

/** The same value, for every reader of JSON. @param indent as JSON.stringify has it. */
export const plainJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent)
    .split('\n')
    .map((line) =>
      line.replace(STEERING, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`),
    )
    .join('\n')
