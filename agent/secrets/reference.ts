/** `NAME` or `NAME@VERSION`: which value of which secret is meant. */
import { usageError } from '../../host/options.ts'
import { SecretName } from '../../protocol/ids.ts'

export interface SecretReference {
  readonly name: SecretName
  /** Undefined for the newest. */
  readonly version?: number | undefined
}

/** @param where what is said of it in an error; the text itself is not repeated, because it may be a value given by mistake. */
export function parseReference(text: string, where: string): SecretReference {
  const [, named = text, number] = /^(.*)@([1-9][0-9]{0,8})$/s.exec(text) ?? []
  const name = SecretName.safeParse(named)
  if (!name.success) throw usageError(`${where}: ${name.error.issues[0]?.message ?? 'not a secret name'}`)
  return { name: name.data, version: number === undefined ? undefined : Number(number) }
}

/** The same for two references to the same value. */
export const referenceText = ({ name, version }: SecretReference): string =>
  version === undefined ? name : `${name}@${version}`

export const uniqueReferences = (references: readonly SecretReference[]): SecretReference[] => [
  ...new Map(references.map((reference) => [referenceText(reference), reference])).values(),
]
