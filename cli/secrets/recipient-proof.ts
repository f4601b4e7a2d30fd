/** That a key is the node's: what the gateway answers is believed only as far as the fleet's audit trail says the same. */
import { EXIT, UserError } from '../../host/user-error.ts'
import type { Result } from '../../protocol/result.ts'
import type { SecretRecipient } from '../admin-client.ts'

export interface RecipientProof {
  /** The error says why not, in words. */
  check(recipient: SecretRecipient): Promise<Result<undefined, string>>
}

/** Each proof is a few hashes of the trail; so many are asked for at a time. */
const AT_ONCE = 8

/** @throws UserError naming the first node whose key is not proven. */
export async function proveRecipients(
  proof: RecipientProof,
  recipients: readonly SecretRecipient[],
): Promise<void> {
  const waiting = [...recipients]
  const prove = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const checked = await proof.check(next)
      if (!checked.ok) throw unproven(next, checked.error)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, prove))
}

const unproven = ({ name, id }: SecretRecipient, why: string): UserError =>
  new UserError({
    code: 'E_RECIPIENT_UNPROVEN',
    message: `nothing is sealed: the key of node ${name} is not the one in the audit trail`,
    why,
    fix: `do not seal to it; look at \`claw audit verify\` and at the node itself (${id})`,
    exitCode: EXIT.denied,
  })
