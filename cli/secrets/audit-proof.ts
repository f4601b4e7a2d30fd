/** A node's key as the audit trail has it: in an entry that is proven to be in the log this person has seen grow. */
import { UserError } from '../../host/user-error.ts'
import { saysKeys } from '../../protocol/node-key-entry.ts'
import { err, ok, type Result } from '../../protocol/result.ts'
import type { AdminClient, SecretRecipient } from '../admin-client.ts'
import { auditTrail } from '../audit/trail.ts'
import type { RecipientProof } from './recipient-proof.ts'

export function recipientProof(client: AdminClient): RecipientProof {
  const { log } = auditTrail(client)
  return {
    async check(recipient): Promise<Result<undefined, string>> {
      const { entry: index, name } = recipient
      if (index === null)
        return err('no entry says its keys; the gateway writes one within a minute of its start')
      try {
        const entry = await log.verifiedEntry(index)
        return saysKeys(entry, recipient) && entry.detail?.['name'] === name
          ? ok(undefined)
          : err(otherKeys(recipient))
      } catch (error) {
        if (isOfTheEntry(error)) return err(error.message)
        throw error
      }
    },
  }
}

/** What is wrong with the trail itself is not the fault of one entry, and is thrown on. */
export const isOfTheEntry = (error: unknown): error is UserError =>
  error instanceof UserError && OF_THE_ENTRY.includes(error.code)

const OF_THE_ENTRY = ['E_AUDIT_ENTRY', 'E_AUDIT_NOT_FOUND', 'E_AUDIT_ARCHIVED']

const otherKeys = ({ entry }: SecretRecipient): string =>
  `entry ${entry} of the trail does not say that this node has this key`
