/**
 * Seals values of one secret on this machine: to the nodes that may read it, each key proven by the audit trail first, and to its owner. Keys
 * that were not there when it was last sealed are shown and confirmed.
 */
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { ageEncrypt, ageRecipientOf } from '../../host/age.ts'
import { confirm } from '../../host/confirm.ts'
import { table } from '../../host/output.ts'
import { UserError } from '../../host/user-error.ts'
import type { NodeId, SecretName } from '../../protocol/ids.ts'
import { MAX_RECIPIENTS, MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import type { SecretDetail } from '../../protocol/secrets.ts'
import type { AdminClient, SecretReaders, SecretRecipient } from '../admin-client.ts'
import type { SealingFlags } from './options.ts'
import { ownerRecipients } from './owner-keys.ts'
import { proveRecipients, type RecipientProof } from './recipient-proof.ts'
import { SealMemory } from './seal-memory.ts'

export interface SealedValue {
  /** Base64. */
  readonly ciphertext: string
  readonly recipients: NodeId[]
}

export class Sealer {
  /** Nodes that may read the secret now. */
  readonly nodes: readonly SecretRecipient[]
  /** Age keys of people. */
  readonly owners: readonly string[]
  readonly #name: SecretName
  readonly #memory: SealMemory

  private constructor(
    name: SecretName,
    nodes: readonly SecretRecipient[],
    owners: readonly string[],
    memory: SealMemory,
  ) {
    this.#name = name
    this.nodes = nodes
    this.owners = owners
    this.#memory = memory
  }

  /** @param readers the policy it is about to get, if it gets another. @param before the secret as it is, if it is there. */
  static async prepare(
    client: Pick<AdminClient, 'origin' | 'secretRecipients'>,
    proof: RecipientProof,
    name: SecretName,
    { readers, before }: { readonly readers: SecretReaders; readonly before: SecretDetail | undefined },
    flags: SealingFlags,
  ): Promise<Sealer> {
    const nodes = await client.secretRecipients(name, readers)
    if (nodes.length > MAX_RECIPIENTS) throw tooMany(name, nodes.length)
    await proveRecipients(proof, nodes)
    const memory = new SealMemory(client.origin)
    const owners = await ownerRecipients(flags.identity, flags.recipient)
    await confirmNew(name, newAmong(nodes, before, memory), flags.yes)
    return new Sealer(name, nodes, owners, memory)
  }

  /** @param nodes some of those that may read it; all of them, if undefined. */
  async seal(value: SecretBytes, nodes: readonly SecretRecipient[] = this.nodes): Promise<SealedValue> {
    const recipients = [...nodes.map(({ sealing }) => ageRecipientOf(sealing)), ...this.owners]
    const file = await ageEncrypt(recipients, value, this.#name)
    if (file.length > MAX_SECRET_BYTES) throw tooLarge(file.length - value.length)
    return { ciphertext: Buffer.from(file).toString('base64'), recipients: nodes.map(({ id }) => id) }
  }

  /** Once the gateway has it. */
  remember(): void {
    this.#memory.remember(this.#name, this.nodes)
  }
}

interface NewKey {
  readonly node: SecretRecipient
  readonly why: string
}

/** What this machine remembers and what the gateway says of the last time must both know a key. */
function newAmong(
  nodes: readonly SecretRecipient[],
  before: SecretDetail | undefined,
  memory: SealMemory,
): NewKey[] {
  const last = before?.versions.at(-1)?.recipients
  return nodes.flatMap((node) => {
    const judged = memory.judge(node)
    if (judged === 'changed') return [{ node, why: 'ANOTHER KEY than when you last sealed to it' }]
    if (judged === 'new') return [{ node, why: 'you have not sealed to it before' }]
    return last === undefined || last.includes(node.id) ? [] : [{ node, why: 'new since the last seal' }]
  })
}

async function confirmNew(name: SecretName, keys: readonly NewKey[], yes: boolean): Promise<void> {
  if (keys.length === 0) return
  const rows = table(keys, [
    { header: 'NODE', value: ({ node }) => node.name },
    { header: 'KEY', value: ({ node }) => ageRecipientOf(node.sealing) },
    { header: 'WHY', value: ({ why }) => why },
  ])
  process.stderr.write(`Secret ${name} is about to be sealed to keys that are new:\n${rows}`)
  await confirm({
    consequence: `this lets ${keys.length === 1 ? 'that node' : `those ${keys.length} nodes`} open secret ${name}`,
    answer: 'yes',
    refused: 'nothing was sealed',
    yes,
  })
}

const tooMany = (name: SecretName, count: number): UserError =>
  new UserError({
    code: 'E_RECIPIENTS_TOO_MANY',
    message: `${count} nodes may read ${name}, and a sealed secret is for at most ${MAX_RECIPIENTS}`,
    fix: 'narrow its policy, or keep it as a managed secret',
  })

const tooLarge = (overhead: number): UserError =>
  new UserError({
    code: 'E_SECRET_TOO_LARGE',
    message: 'sealed, this value is more than the 1 MiB that is stored',
    why: `sealing to so many adds ${overhead} bytes`,
  })
