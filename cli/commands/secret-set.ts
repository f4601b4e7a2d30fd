/** `claw secret set` and `claw secret rotate`: new values. */
import { defineCommand } from '../../host/command-line.ts'
import { parseDuration } from '../../host/duration.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import type { SecretDetail } from '../../protocol/secrets.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { recipientProof } from '../secrets/audit-proof.ts'
import { nodesText, readersText } from '../secrets/describe.ts'
import { ALPHABETS, type Alphabet, generateValue } from '../secrets/generate.ts'
import { readValue } from '../secrets/input.ts'
import { parseSecretName } from '../secrets/names.ts'
import { NO_READERS, parseNumber, parseReaders, readersOptions, sealingOptions } from '../secrets/options.ts'
import { prepareWrite } from '../secrets/write-secret.ts'

const fileOption = {
  type: 'string',
  value: 'FILE',
  help: 'read the value from there instead of standard input',
} as const

export const set = defineCommand({
  name: 'set',
  summary: 'Write a secret from a file or from standard input, byte for byte',
  details: `A value is never an argument, because arguments can be read by every user of the machine:
  printf %s "$VALUE" | claw secret set NAME
Without --allow-tag and --allow-node a new secret is readable by no node, and an existing one keeps its policy.

A secret is managed, which the gateway can read, or with --sealed encrypted on this machine to the nodes that may read it and to you;
it stays what it is. A new version of a sealed secret is sealed as well.`,
  positionals: ['NAME'],
  options: {
    file: fileOption,
    cas: {
      type: 'string',
      value: 'VERSION',
      help: 'only if that is its newest version; 0: only if it is new',
    },
    ...readersOptions,
    sealed: { type: 'boolean', help: 'make a new secret a sealed one' },
    managed: { type: 'boolean', help: 'make a new secret a managed one, though you have sealed it before' },
    ...sealingOptions,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    if (options.sealed && options.managed) throw usageError('a secret is either sealed or managed')
    const as = options.sealed ? 'sealed' : options.managed ? 'managed' : undefined
    const readers = parseReaders(options)
    const cas = options.cas === undefined ? undefined : parseNumber('--cas', options.cas, { least: 0 })
    const written = await withGateway(options, async (client) => {
      const current = await client.findSecret(name)
      const prepared = await prepareWrite(
        client,
        recipientProof(client),
        name,
        current,
        { readers, as, cas },
        options,
      )
      using value = await readValue(options.file)
      // Awaited, because the value is wiped on the way out.
      return await prepared.write(value)
    })
    tell(written, options.output)
  },
})

export const rotate = defineCommand({
  name: 'rotate',
  summary: 'Give a secret a new value, drawn here or given; nodes that may read it hear of it at once',
  details: `With --overlap the value before stays readable by its version's number for so long, for jobs that still use it.
The new value is drawn on this machine with --generate, else read from --file or standard input.`,
  positionals: ['NAME'],
  options: {
    file: fileOption,
    generate: { type: 'string', value: 'LENGTH', help: 'draw a value of so many characters' },
    alphabet: {
      type: 'string',
      value: 'ALPHABET',
      default: 'alphanumeric',
      choices: ['alphanumeric', 'hex', 'base64url', 'printable'],
      help: 'what it is drawn from: alphanumeric, hex, base64url or printable',
    },
    overlap: {
      type: 'string',
      value: 'SPAN',
      help: 'how long the value before stays readable: 30s, 10m, 2h, 7d',
    },
    ...sealingOptions,
    output: outputOption,
    ...connectionOptions,
  },
  async run({ options, positionals }) {
    const name = parseSecretName(positionals.NAME)
    const draw = drawing(options.generate, options.alphabet)
    if (draw !== undefined && options.file !== undefined)
      throw usageError('a value is either drawn or read from a file')
    const overlap = options.overlap === undefined ? undefined : parseDuration(options.overlap)
    const written = await withGateway(options, async (client) => {
      const current = await client.findSecret(name)
      if (current === undefined) throw notFound(name)
      // Two who rotate at once would otherwise put one value in use that only one of them knows.
      const write = { readers: NO_READERS, as: undefined, cas: current.version, overlap }
      const prepared = await prepareWrite(client, recipientProof(client), name, current, write, options)
      using value = draw === undefined ? await readValue(options.file) : draw()
      return await prepared.write(value)
    })
    tell(written, options.output)
  },
})

function drawing(length: string | undefined, alphabet: Alphabet) {
  if (length === undefined) return undefined
  const characters = parseNumber('--generate', length)
  if (characters > MAX_SECRET_BYTES) throw usageError(`--generate is at most ${MAX_SECRET_BYTES}`)
  const bits = Math.floor(characters * Math.log2(ALPHABETS[alphabet].length))
  if (bits < LEAST_BITS)
    throw usageError(
      `${characters} characters of ${alphabet} are ${bits} bits, which can be guessed`,
      `draw at least ${Math.ceil(LEAST_BITS / Math.log2(ALPHABETS[alphabet].length))}`,
    )
  return () => generateValue(characters, alphabet)
}

/** What no attacker goes through even offline. */
const LEAST_BITS = 80

function tell(written: SecretDetail, output: 'table' | 'json'): void {
  if (output === 'json') {
    printJson(written)
    return
  }
  const sealed =
    written.class === 'sealed' ? `, sealed to ${nodesText(written.versions.at(-1)?.recipients.length)}` : ''
  process.stderr.write(
    `secret ${written.name} is at version ${written.version}${sealed}, readable by ${readersText(written)}\n`,
  )
}

const notFound = (name: string): UserError =>
  new UserError({
    code: 'E_SECRET_NOT_FOUND',
    message: ERRORS.E_SECRET_NOT_FOUND.title,
    why: `there is no ${name} to rotate`,
    fix: `claw secret set ${name}`,
    exitCode: EXIT.notFound,
  })
