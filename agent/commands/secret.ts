/** `clawnode secret`: a secret for a script that cannot be a command of `exec`. */
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { valueJson } from '../../host/value-json.ts'
import { systemClock } from '../clock.ts'
import { loadNodeConfig } from '../config/node-config.ts'
import { stderrLog } from '../log.ts'
import { wipeSecrets } from '../secrets/kept-secrets.ts'
import { parseReference, referenceText } from '../secrets/reference.ts'
import { SecretSource } from '../secrets/secret-source.ts'
import { cacheOptions, configFlags, configOptions } from './configuration.ts'
import { parseWait, parseWorkload, waitOption, workloadOption } from './secret-options.ts'

const get = defineCommand({
  name: 'get',
  summary: 'print a secret that this node may read, byte for byte',
  details:
    'While the gateway is away it is the value that this node has kept, and a line on standard error says so.',
  positionals: ['NAME'],
  options: {
    version: { type: 'string', value: 'N', help: 'that version instead of the newest' },
    timeout: { ...waitOption, default: '0' },
    workload: workloadOption,
    output: { ...outputOption, default: 'raw', choices: ['raw', 'json'], help: 'raw bytes, or json' },
    ...cacheOptions,
    ...configOptions,
  },
  run: async ({ options, positionals: { NAME } }) => {
    const { version } = options
    if (version !== undefined && !/^[1-9][0-9]{0,8}$/.test(version))
      throw usageError('--version takes a number')
    const reference = parseReference(version === undefined ? NAME : `${NAME}@${version}`, 'NAME')
    const waitMs = parseWait(options.timeout)
    const workload = parseWorkload(options.workload)
    const config = loadNodeConfig(configFlags(options))
    const source = new SecretSource({ config, clock: systemClock, log: stderrLog(config.logLevel), workload })
    const { secrets } = await source.obtain([reference], waitMs)
    try {
      const received = secrets.get(referenceText(reference))
      if (received === undefined) throw new Error('the secret that was asked for is not there')
      const bytes = received.value.expose()
      const { name } = reference
      const about = { name, version: received.version, class: received.class }
      if (options.output === 'json') return printJson({ ...about, ...valueJson(bytes) })
      process.stdout.write(new Uint8Array(bytes))
      if (process.stdout.isTTY) process.stdout.write('\n')
    } finally {
      wipeSecrets(secrets)
    }
  },
})

export const secretCommands = defineGroup({
  name: 'secret',
  summary: 'secrets that this node may read',
  commands: [get],
})
