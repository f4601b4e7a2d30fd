/** Flags that several commands about secrets have in common. */

import { yesOption } from '../../host/confirm.ts'
import { type OptionSpecs, usageError } from '../../host/options.ts'
import { NodeName, Tags } from '../../protocol/ids.ts'
import type { SecretReaders } from '../admin-client.ts'

export const identityOption = {
  identity: {
    type: 'string',
    value: 'FILE',
    help: 'age key of yours that opens sealed secrets, else CLAW_AGE_IDENTITY, else the one claw made',
  },
} as const satisfies OptionSpecs

/** Of the commands that seal. */
export const sealingOptions = {
  ...identityOption,
  recipient: {
    type: 'string',
    value: 'age1...',
    multiple: true,
    help: 'a further age key that may open what is sealed, beside the nodes and you',
  },
  yes: { ...yesOption, help: 'do not ask before sealing to keys that are new' },
} as const satisfies OptionSpecs

export const readersOptions = {
  'allow-tag': { type: 'string', value: 'TAG', multiple: true, help: 'nodes with this tag may read it' },
  'allow-node': { type: 'string', value: 'NODE', multiple: true, help: 'this node may read it' },
} as const satisfies OptionSpecs

export interface SealingFlags {
  readonly identity?: string | undefined
  readonly recipient: readonly string[]
  readonly yes: boolean
}

export function parseReaders(options: {
  readonly 'allow-tag': readonly string[]
  readonly 'allow-node': readonly string[]
}): SecretReaders {
  const tags = Tags.safeParse(options['allow-tag'])
  if (!tags.success) throw usageError(`--allow-tag: ${tags.error.issues[0]?.message}`)
  const nodes = NodeName.array().safeParse(options['allow-node'])
  if (!nodes.success) throw usageError(`--allow-node: ${nodes.error.issues[0]?.message}`)
  return { tags: tags.data, nodes: nodes.data }
}

export const NO_READERS: SecretReaders = { tags: [], nodes: [] }

/** A version's number, or how many of something. */
export function parseNumber(flag: string, text: string, { least = 1 } = {}): number {
  const number = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least)) throw usageError(`${flag} is a whole number from ${least} on`)
  return number
}
