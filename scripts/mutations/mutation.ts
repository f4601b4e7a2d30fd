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

export const mutate = (
  name: string,
  [file, search, replace]: readonly [string, string, string],
  [project, test, title]: readonly [Mutation['project'], string, string?],
): Mutation => ({ name, file, search, replace, project, test, ...(title !== undefined && { title }) })
