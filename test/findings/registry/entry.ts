/** What proves a line of the findings, or why nothing does. */
/** File below test/, then titles. */
export type Proof = readonly [file: string, first: string, ...others: string[]]

export type Entry =
  | { readonly proofs: readonly [Proof, ...Proof[]] }
  /** Other lines prove it. */
  | { readonly by: readonly [string, ...string[]] }
  /** Kept in another way than it says, and why; with tests of that way. */
  | { readonly deviation: string; readonly proofs: readonly [Proof, ...Proof[]] }
  /** A system that is not built yet. */
  | { readonly open: string }
