/** `claw relay` on a machine of its own in a lab, so that it can be lost while the gateway stays. */
import type { ChildProcess } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { issueServerCertificate } from '../../cli/up/certificates.ts'
import type { Lab } from '../../demo/lab.ts'

const CLAW = fileURLToPath(new URL('../../bin/claw.js', import.meta.url))
const PORT = 8444

export class LabRelay {
  readonly #lab: Lab
  readonly #host
  #args: readonly string[] = []
  #process: ChildProcess | undefined

  constructor(lab: Lab) {
    this.#lab = lab
    this.#host = lab.addHost()
  }

  /** What `claw up --relays` takes. */
  get origin(): string {
    return `wss://${this.#host.address}:${PORT}`
  }

  /** With a certificate of the fleet's own CA. The gateway has to run. */
  async prepare(): Promise<void> {
    const lab = this.#lab
    const directory = join(lab.directory, 'gateway')
    const ca = {
      certificate: readFileSync(lab.caFile, 'utf8'),
      key: createPrivateKey(readFileSync(join(directory, 'ca.key'))),
    }
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const cert = await issueServerCertificate(ca, privateKey, [this.#host.address], new Date())
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const gatewayKey = (await lab.clawOutput(['gateway-key', 'show', '--dir', directory])).trim()
    const files = ['--cert', lab.file('relay.pem', cert), '--key', lab.file('relay.key', key)]
    this.#args = [CLAW, 'relay', '--json', ...files, '--origin', this.origin, `--gateway-key=${gatewayKey}`]
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const relay = this.#host.spawn(process.execPath, this.#args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#process = relay
    await once(createInterface(relay.stdout ?? expect.fail('no output')), 'line')
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const relay = this.#process ?? expect.fail('it does not run')
    const ended = once(relay, 'exit')
    relay.kill(signal)
    await ended
  }
}
