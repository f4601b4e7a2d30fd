/** `claw gateway-key`: the key by which nodes know the gateway of this machine, and its succession. */
import { resolve } from 'node:path'
import { defineCommand, defineGroup } from '../../host/command-line.ts'
import { directoryOption } from '../run-file.ts'
import { announceGatewayKey, gatewayPublicKeys, rotateGatewayKey } from '../up/gateway-key.ts'

const show = defineCommand({
  name: 'show',
  summary: 'Print the public key in force, and below it the next one if it is announced',
  details: 'It is what `claw relay --gateway-key` takes.',
  options: { dir: directoryOption },
  run({ options }) {
    process.stdout.write(`${gatewayPublicKeys(resolve(options.dir)).join('\n')}\n`)
  },
})

const announce = defineCommand({
  name: 'announce',
  summary: 'Make the next key, which nodes learn whenever they connect',
  details:
    'It is announced from the next SIGHUP to `claw up`, or its next start. Making it twice makes it once.',
  options: { dir: directoryOption },
  run({ options }) {
    const key = announceGatewayKey(resolve(options.dir))
    process.stderr.write('the next key is made; SIGHUP has `claw up` announce it\n')
    process.stdout.write(`${key}\n`)
  },
})

const rotate = defineCommand({
  name: 'rotate',
  summary: 'Put the announced key in force',
  details: `Do it when every node has connected since the announcement. One that has not will take the gateway for an impostor and
must join again. Join tokens that were made before are void.`,
  options: { dir: directoryOption },
  run({ options }) {
    const key = rotateGatewayKey(resolve(options.dir))
    process.stderr.write(
      'the key is in force from the next SIGHUP to `claw up`; the old one is kept as gateway-old.jwk\n',
    )
    process.stdout.write(`${key}\n`)
  },
})

export const gatewayKeyCommands = defineGroup({
  name: 'gateway-key',
  summary: 'The key by which nodes know the gateway of this machine',
  commands: [show, announce, rotate],
})
