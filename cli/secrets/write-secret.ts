/** Writing a value, in the class the secret has: what is sealed is never sent in clear by mistake, whatever the gateway says it is. */
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import type { SecretName } from '../../protocol/ids.ts'
import type { SecretClass, SecretDetail, SecretItem } from '../../protocol/secrets.ts'
import type { AdminClient, SecretReaders } from '../admin-client.ts'
import type { SealingFlags } from './options.ts'
import type { RecipientProof } from './recipient-proof.ts'
import { SealMemory } from './seal-memory.ts'
import { Sealer } from './sealer.ts'

export interface WriteOptions {
  readonly readers: SecretReaders
  /** The class a new secret gets; undefined is managed, unless this person has sealed it before. */
  readonly as: SecretClass | undefined
  readonly cas?: number | undefined
  /** Milliseconds. */
  readonly overlap?: number | undefined
}

/** A secret that is about to be written: everything that may be refused or asked about is, before a value is typed. */
export interface PreparedWrite {
  readonly class: SecretClass
  write(value: SecretBytes): Promise<SecretDetail>
}

export async function prepareWrite(
  client: AdminClient,
  proof: RecipientProof,
  name: SecretName,
  current: SecretItem | undefined,
  { readers, as, cas, overlap }: WriteOptions,
  flags: SealingFlags,
): Promise<PreparedWrite> {
  const memory = new SealMemory(client.origin)
  if (classOf(name, current, as, memory.hasSealed(name)) === 'managed') {
    return {
      class: 'managed',
      async write(value) {
        const written = await client.putSecret(name, value.expose(), { cas, overlap, readers })
        // Only its owner's own word leads here with one that was sealed.
        memory.forget(name)
        return written
      },
    }
  }
  const before = current === undefined ? undefined : await client.secret(name)
  const sealer = await Sealer.prepare(client, proof, name, { readers, before }, flags)
  return {
    class: 'sealed',
    async write(value) {
      const written = await client.putSealedSecret(name, {
        ...(await sealer.seal(value)),
        ...(cas !== undefined && { cas }),
        ...(overlap !== undefined && { overlap }),
        ...(hasReaders(readers) && {
          policy: { rules: [{ effect: 'allow', tags: [...readers.tags], nodes: [...readers.nodes] }] },
        }),
      })
      sealer.remember()
      return written
    },
  }
}

function classOf(
  name: SecretName,
  current: SecretItem | undefined,
  as: SecretClass | undefined,
  sealedBefore: boolean,
): SecretClass {
  if (current !== undefined && as !== undefined && current.class !== as) throw otherClass(name, current.class)
  const found = current?.class ?? as
  if (found === 'sealed') return 'sealed'
  if (sealedBefore && as === undefined) throw wasSealed(name, current !== undefined)
  return 'managed'
}

const hasReaders = ({ tags, nodes }: SecretReaders): boolean => tags.length + nodes.length > 0

const otherClass = (name: SecretName, found: SecretClass): UserError =>
  new UserError({
    code: 'E_SECRET_CLASS',
    message: ERRORS.E_SECRET_CLASS.title,
    why: `${name} is ${found}`,
    exitCode: EXIT.conflict,
  })

const wasSealed = (name: SecretName, exists: boolean): UserError =>
  new UserError({
    code: 'E_SECRET_WAS_SEALED',
    message: `nothing is sent: you have sealed ${name} before, and the gateway now calls it ${exists ? 'managed' : 'new'}`,
    why: 'a managed value is sent so that the gateway can read it',
    fix: `if that is as it should be, say which it is to be: claw secret set ${name} with --sealed or --managed`,
    exitCode: EXIT.conflict,
  })
