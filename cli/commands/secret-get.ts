/** `claw secret get`: a value, byte for byte. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { valueJson } from '../../host/value-json.ts'
import type { SecretName } from '../../protocol/ids.ts'
import type { AdminClient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { parseSecretName } from '../secrets/names.ts'
import { identityOption, parseNumber } from '../secrets/options.ts'
import { fetchSecret, type ReadSecret, readSecret } from '../secrets/read-secret.ts'
import { SealMemory } from '../secrets/seal-memory.ts'

export const get = defineCommand({
  name: 'get',
  summary: 'Print a secret, byte for byte',
  details: `A sealed secret is opened on this machine with your age key. With --ciphertext it is printed as it is stored, an age file:
  claw secret get NAME --ciphertext > NAME.age
  age -d -i KEY NAME.age`,
  positionals: ['NAME'],
  options: {
    version: { type: 'string', value: 'N', help: 'that version instead of the newest' },
    ciphertext: { type: 'boolean', help: 'of a sealed secret, the age file' },
    managed: {
      type: 'boolean',
      help: 'also if you have sealed it before, and the gateway now has it in clear',
    },
    ...identityOption,
    output: { ...outputOption, default: 'raw', choices: ['raw', 'json'], help: 'raw bytes, or json' },
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    if (options.ciphertext && options.output === 'raw' && process.stdout.isTTY)
      throw usageError('an age file is not for a terminal', `claw secret get ${name} --ciphertext > FILE.age`)
    const version = options.version === undefined ? undefined : parseNumber('--version', options.version)
    const read = await withGateway(options, (client) =>
      options.ciphertext
        ? readCiphertext(client, name, version)
        : readAsKnown(client, name, options, version),
    )
    using value = read.value
    const bytes = value.expose()
    if (options.output === 'json')
      return printJson({ name, version: read.version, class: read.class, ...valueJson(bytes) })
    process.stdout.write(new Uint8Array(bytes))
    if (process.stdout.isTTY) process.stdout.write('\n')
  },
})

/** Whoever runs the gateway can make up a managed value, and no sealed one: what was sealed here is not to be taken for less unnoticed. */
async function readAsKnown(
  client: AdminClient,
  name: SecretName,
  { identity, managed }: { readonly identity: string | undefined; readonly managed: boolean },
  version: number | undefined,
): Promise<ReadSecret> {
  const read = await readSecret(client, name, identity, { version })
  if (read.class === 'sealed' || managed || !new SealMemory(client.origin).hasSealed(name)) return read
  read.value.wipe()
  throw new UserError({
    code: 'E_SECRET_WAS_SEALED',
    message: `nothing is printed: you have sealed ${name} before, and the gateway now calls it managed`,
    why: 'whoever runs the gateway can have put any value there',
    fix: `if that is as it should be: claw secret get ${name} --managed`,
    exitCode: EXIT.conflict,
  })
}

async function readCiphertext(
  client: AdminClient,
  name: SecretName,
  version: number | undefined,
): Promise<ReadSecret> {
  const read = await fetchSecret(client, name, { version, purpose: 'ciphertext' })
  if (read.class === 'sealed') return read
  read.value.wipe()
  throw usageError(`${name} is a managed secret, which has no age file`, `claw secret get ${name}`)
}
