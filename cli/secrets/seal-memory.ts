/**
 * What this person has sealed before: which secrets, and to which keys of nodes. The gateway says both, too, and this is where one that lies
 * is noticed: a secret that it now calls managed would be sent to it in clear, and a key that it has exchanged would be sealed to.
 */
import * as z from 'zod'
import { EXIT, UserError } from '../../host/user-error.ts'
import { NodeId, SealingKey, SecretName } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import type { SecretRecipient } from '../admin-client.ts'
import { ownPath, readOwnFile, writeOwnFile } from '../own-directory.ts'

const FILE = 'sealed.json'

const OfGateway = z.object({
  secrets: z.array(SecretName),
  nodes: z.record(NodeId, SealingKey),
})
type OfGateway = z.infer<typeof OfGateway>
const Memory = z.record(z.string(), OfGateway)

export class SealMemory {
  readonly #origin: string

  /** @param origin of the gateway: another one has other nodes. */
  constructor(origin: string) {
    this.#origin = origin
  }

  hasSealed(name: SecretName): boolean {
    return this.#read().secrets.includes(name)
  }

  /** `changed`: it had another key when something was last sealed to it. */
  judge({ id, sealing }: SecretRecipient): 'known' | 'new' | 'changed' {
    const known = this.#read().nodes[id]
    if (known === undefined) return 'new'
    return known === sealing ? 'known' : 'changed'
  }

  remember(name: SecretName, recipients: readonly SecretRecipient[]): void {
    const { secrets, nodes } = this.#read()
    this.#write({
      secrets: [...new Set([...secrets, name])].sort(),
      nodes: { ...nodes, ...Object.fromEntries(recipients.map(({ id, sealing }) => [id, sealing])) },
    })
  }

  forget(name: SecretName): void {
    const before = this.#read()
    if (!before.secrets.includes(name)) return
    this.#write({ ...before, secrets: before.secrets.filter((other) => other !== name) })
  }

  #read(): OfGateway {
    return readAll()[this.#origin] ?? { secrets: [], nodes: {} }
  }

  #write(mine: OfGateway): void {
    writeOwnFile(FILE, `${JSON.stringify({ ...readAll(), [this.#origin]: mine }, null, 1)}\n`)
  }
}

function readAll(): z.infer<typeof Memory> {
  const text = readOwnFile(FILE)
  if (text === undefined) return {}
  const memory = Memory.safeParse(parseJson(text))
  if (!memory.success) throw damaged()
  return memory.data
}

const damaged = (): UserError =>
  new UserError({
    code: 'E_STATE_DAMAGED',
    message: `${ownPath(FILE)} is damaged`,
    why: 'it is not what claw writes there',
    fix: 'bring it back from a copy, or delete it and look at each key you are then asked about',
    exitCode: EXIT.badConfig,
  })
