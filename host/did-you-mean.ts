/** Suggestions for mistyped words. */

/** Two mistakes are a slip; more is another word. */
const MAX_DISTANCE = 2

/** `did you mean X?`, or undefined if nothing is near. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const distances = known.map((candidate) => [candidate, distance(word, candidate)] as const)
  const [nearest] = distances.filter(([, steps]) => steps <= MAX_DISTANCE).sort(([, a], [, b]) => a - b)
  return nearest && `did you mean ${nearest[0]}?`
}

/** Damerau-Levenshtein, optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row[j] = Math.min(
        at(last, j) + 1,
        at(row, j - 1) + 1,
        at(last, j - 1) + (same ? 0 : 1),
        swapped ? at(beforeLast, j - 2) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    beforeLast = last
    last = row
  }
  return at(last, b.length)
}

const at = (row: readonly number[], index: number): number => row[index] ?? Number.POSITIVE_INFINITY
