/** Where a node keeps its keys and state if it is not told. */
import { join } from 'node:path'

interface Account {
  readonly env: NodeJS.ProcessEnv
  readonly home: string
  /** Undefined on platforms without user ids. */
  readonly uid: number | undefined
}

export function defaultStateDirectory({ env, home, uid }: Account): string {
  if (uid === 0) return '/var/lib/clawnode'
  return join(env['XDG_STATE_HOME'] || join(home, '.local', 'state'), 'clawnode')
}
