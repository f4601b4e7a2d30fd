/** A way in which a guard could be lost, and the test that must notice. */
export interface Mutation {
  readonly name: string
  readonly file: string
  /** Occurs exactly once in the file. */
  readonly search: string
  readonly replace: string
  readonly project: 'gateway' | 'host'
  /** Below test/. */
  readonly test: string
  /** Part of the titles to run; all of the file without it. */
  readonly title?: string
}

/** What of a file is replaced by what. */
export type Edit = readonly [file: string, search: string, replace: string]

/** Where it must be noticed. */
export type Noticing = readonly [project: Mutation['project'], test: string, title?: string]

export const mutate = (
  name: string,
  [file, search, replace]: Edit,
  [project, test, title]: Noticing,
): Mutation => ({ name, file, search, replace, project, test, ...(title !== undefined && { title }) })

/** Several of one file, which one test must notice. */
export const inFile = (
  file: string,
  project: Mutation['project'],
  test: string,
  changes: readonly Pick<Mutation, 'name' | 'search' | 'replace' | 'title'>[],
): Mutation[] => changes.map((change) => ({ ...change, file, project, test }))
