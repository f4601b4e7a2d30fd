/** Whether each mutation can still be made: its text stands exactly once in its file, and the test that must notice exists. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../run.ts'
import type { Mutation } from './mutation.ts'

/** @returns what is wrong, a line each. */
export function misfits(mutations: readonly Mutation[]): string[] {
  const sources = new Map<string, string>()
  const read = (file: string): string => {
    const known = sources.get(file)
    if (known !== undefined) return known
    const source = existsSync(join(ROOT, file)) ? readFileSync(join(ROOT, file), 'utf8') : ''
    sources.set(file, source)
    return source
  }
  return mutations.flatMap(({ name, file, search, test }) => {
    const found = read(file).split(search).length - 1
    return [
      ...(found === 1 ? [] : [`no longer fits: ${name} (${file}, found ${found} times)`]),
      ...(existsSync(join(ROOT, 'test', test)) ? [] : [`has no test: ${name} (test/${test})`]),
    ]
  })
}
