/** A gateway for all tests of a file, and `claw` as its owner. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll } from 'vitest'
import { claw, type Finished, openGateway, type RunningGateway } from './claw.ts'

export interface OwnGateway {
  /** Holds `.claw`, the gateway's directory, and `own`, what claw keeps for its owner. */
  readonly home: string
  readonly running: RunningGateway
  /** Of the owner's. */
  readonly env: Readonly<Record<string, string>>
  run(args: readonly string[], input?: string | Uint8Array): Promise<Finished>
  /** What it prints with `-o json`. @throws Error with what it says if it fails. */
  json<T = Record<string, unknown>>(args: readonly string[], input?: string | Uint8Array): Promise<T>
}

export function ownGateway(): OwnGateway {
  const home = mkdtempSync(join(tmpdir(), 'claw-'))
  let running: RunningGateway | undefined
  beforeAll(async () => {
    running = await openGateway(join(home, '.claw'))
    return async () => {
      await running?.dispose()
      rmSync(home, { recursive: true })
    }
  })
  const gateway: OwnGateway = {
    home,
    get running() {
      if (running === undefined) throw new Error('the gateway does not run yet')
      return running
    },
    get env() {
      return { ...gateway.running.env, CLAW_HOME: join(home, 'own') }
    },
    run: (args, input) => claw(args, { env: gateway.env, ...(input !== undefined && { input }) }),
    async json<T>(args: readonly string[], input?: string | Uint8Array) {
      const { code, stdout, stderr } = await gateway.run([...args, '-o', 'json'], input)
      if (code !== 0) throw new Error(stderr)
      return JSON.parse(stdout) as T
    },
  }
  return gateway
}
