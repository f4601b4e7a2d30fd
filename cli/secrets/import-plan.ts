/** What an import would do: found by reading what is there, and comparing in constant time. */
import { UserError } from '../../host/user-error.ts'
import type { SecretItem } from '../../protocol/secrets.ts'
import type { AdminClient } from '../admin-client.ts'
import type { Imported } from './import-file.ts'
import { readSecret } from './read-secret.ts'

/** `differs`: there is another value, and nobody said that it may be overwritten. */
type ImportAction = 'create' | 'update' | 'unchanged' | 'differs'

export interface PlannedImport extends Imported {
  readonly action: ImportAction
  /** As it is now, if it is there. */
  readonly current: SecretItem | undefined
}

interface PlanOptions {
  readonly overwrite: boolean
  readonly identity: string | undefined
}

export async function planImport(
  client: AdminClient,
  secrets: readonly Imported[],
  { overwrite, identity }: PlanOptions,
): Promise<PlannedImport[]> {
  const planned: PlannedImport[] = []
  for (const secret of secrets) {
    const current = await client.findSecret(secret.name)
    const same = current !== undefined && (await isSame(client, secret, current, identity))
    const action = same ? 'unchanged' : current === undefined ? 'create' : overwrite ? 'update' : 'differs'
    planned.push({ ...secret, current, action })
  }
  return planned
}

/** What is deleted or destroyed is another value than any. */
async function isSame(
  client: AdminClient,
  { name, value }: Imported,
  { state, version }: SecretItem,
  identity: string | undefined,
): Promise<boolean> {
  if (state !== 'live') return false
  try {
    const read = await readSecret(client, name, identity, { version, purpose: 'import' })
    using held = read.value
    return held.equals(value)
  } catch (error) {
    // Gone in between.
    if (error instanceof UserError && GONE.includes(error.code)) return false
    throw error
  }
}

const GONE = ['E_SECRET_NOT_FOUND', 'E_SECRET_VERSION_NOT_FOUND', 'E_SECRET_DELETED', 'E_SECRET_DESTROYED']
