/** One gateway on a directory, and whom `claw` believes that there is one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  DirectoryClaim,
  findRunningGateway,
  type RunFile,
  readRunFile,
  writeRunFile,
} from '../../cli/run-file.ts'
import { identify, isAlive, type ProcessIdentity } from '../../cli/up/processes.ts'
import { createTestCa } from '../support/certificates.ts'
import { claw } from '../support/claw.ts'
import { startRecordingServer } from '../support/recording-server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const RUN_FILE = JSON.stringify(join(import.meta.dirname, '../../cli/run-file.ts'))
/** Claims each directory it reads a line of, answers `claimed` or the code of the error, and keeps what it got until it is killed. */
const CLAIMER = `
  import { createInterface } from 'node:readline'
  import { DirectoryClaim } from ${RUN_FILE}
  const claims = []
  console.log('ready')
  for await (const directory of createInterface({ input: process.stdin }))
    await DirectoryClaim.take(directory).then(
      (claim) => console.log('claimed', claims.push(claim)),
      (error) => console.log(error.code))`
const NOBODY: ProcessIdentity = { pid: 2 ** 22 - 1, startTime: '1', executable: process.execPath }

function identityOf(pid: number | undefined): ProcessIdentity {
  const found = pid === undefined ? undefined : identify(pid)
  if (found === undefined) throw new Error('no such process')
  return found
}

/** What a `claw up` that was killed leaves: its note, and the workerd that it names. */
async function leftBehind(directory: string): Promise<ProcessIdentity> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' })
  await once(child, 'spawn')
  onTestFinished(() => void child.kill('SIGKILL'))
  // The name of the executable changes as it starts.
  await expect.poll(() => identityOf(child.pid).executable).toMatch(/sleep|coreutils|busybox/)
  const workerd = identityOf(child.pid)
  writeRunFile(directory, { gateway: NOBODY, workerd, ca: '', adminTokenFile: '' })
  return workerd
}

async function startClaimer() {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CLAIMER], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => String((await answers.next()).value).split(' ', 1)[0] ?? ''
  await answer()
  return {
    child,
    claim(directory: string): Promise<string> {
      child.stdin.write(`${directory}\n`)
      return answer()
    },
  }
}

describe('a directory of `claw up`', () => {
  test('is one process’s, however close together two begin after a kill', async () => {
    const claimers = await Promise.all([startClaimer(), startClaimer(), startClaimer()])
    for (let round = 0; round < 10; round++) {
      const directory = temporaryDirectory()
      const workerd = await leftBehind(directory)
      const answers = await Promise.all(claimers.map(({ claim }) => claim(directory)))
      expect(answers.toSorted()).toEqual(['E_ALREADY_RUNNING', 'E_ALREADY_RUNNING', 'claimed'])
      expect(isAlive(workerd)).toBe(false)
      const winner = claimers[answers.indexOf('claimed')]
      expect(readRunFile(directory)?.gateway.pid).toBe(winner?.child.pid)
    }
  })

  test('is free again when its process is killed', async () => {
    const directory = temporaryDirectory()
    for (let round = 0; round < 3; round++) {
      const { child, claim } = await startClaimer()
      expect(await claim(directory)).toBe('claimed')
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })

  test('is not released by whoever no longer has it', async () => {
    const directory = temporaryDirectory()
    const first = await DirectoryClaim.take(directory)
    await expect(DirectoryClaim.take(directory)).rejects.toMatchObject({ code: 'E_ALREADY_RUNNING' })
    expect(readRunFile(directory)?.gateway.pid).toBe(process.pid)
    first.release()
    expect(readRunFile(directory)).toBeUndefined()

    const second = await DirectoryClaim.take(directory)
    second.note({ url: 'https://localhost:1' })
    first.note({ url: 'https://localhost:2' })
    first.release()
    expect(readRunFile(directory)?.url).toBe('https://localhost:1')
    second.release()
  })

  test('has a lock that is private and empty', async () => {
    const directory = temporaryDirectory()
    const claim = await DirectoryClaim.take(directory)
    const { mode, size } = statSync(join(directory, 'lock.db'))
    expect([mode & 0o777, size]).toEqual([0o600, 0])
    claim.release()
  })
})

describe('a gateway is found in a directory', () => {
  const URL = 'https://localhost:8443'

  function directoryOf(change: Partial<RunFile> = {}, home = temporaryDirectory()): string {
    const directory = join(home, '.claw')
    mkdirSync(directory, { mode: 0o700 })
    writeRunFile(directory, {
      gateway: identityOf(process.pid),
      url: URL,
      ca: join(directory, 'ca.pem'),
      adminTokenFile: join(directory, 'admin.token'),
      ...change,
    })
    return directory
  }

  test('that is private and names its own files', () => {
    const directory = directoryOf()
    const files = { ca: join(directory, 'ca.pem'), adminTokenFile: join(directory, 'admin.token') }
    expect(findRunningGateway(directory)).toEqual({ url: URL, ...files })
    expect(findRunningGateway(join(directory, 'nowhere'))).toBeUndefined()
  })

  test('also by another way to it', () => {
    const home = temporaryDirectory()
    const link = join(temporaryDirectory(), 'link')
    symlinkSync(home, link)
    const ca = join(link, '.claw/ca.pem')
    const adminTokenFile = join(link, '.claw/admin.token')
    expect(findRunningGateway(directoryOf({ ca, adminTokenFile }, home))?.url).toBe(URL)
  })

  test('only while its process lives', () => {
    expect(findRunningGateway(directoryOf({ gateway: NOBODY }))).toBeUndefined()
    const other = { ...identityOf(process.pid), startTime: '1' }
    expect(findRunningGateway(directoryOf({ gateway: other }))).toBeUndefined()
    expect(findRunningGateway(directoryOf({ url: undefined }))).toBeUndefined()
  })

  test('never if others may write there, or it is a link', () => {
    const open = directoryOf()
    chmodSync(open, 0o755)
    const link = join(temporaryDirectory(), '.claw')
    symlinkSync(directoryOf(), link)
    for (const directory of [open, link])
      expect(() => findRunningGateway(directory)).toThrow(
        expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }),
      )
  })

  test.each([
    ['a token elsewhere', { adminTokenFile: '/root/admin.token' }],
    ['a token of another name', (home: string) => ({ adminTokenFile: join(home, '.claw/id_ed25519') })],
    ['a CA elsewhere', { ca: join(tmpdir(), 'ca.pem') }],
    ['a token by a way back', { adminTokenFile: '../admin.token' }],
  ])('never if it names %s', (_, change) => {
    const home = temporaryDirectory()
    const directory = directoryOf(typeof change === 'function' ? change(home) : change, home)
    expect(() => findRunningGateway(directory)).toThrow(expect.objectContaining({ code: 'E_RUN_FILE' }))
  })
})

test('a directory that came with a download gets no token of ours, and our CA judges nothing in it', async () => {
  const ca = await createTestCa()
  await using server = await startRecordingServer(await ca.issue())
  const cwd = temporaryDirectory()
  const directory = join(cwd, '.claw')
  mkdirSync(directory, { mode: 0o700 })
  writeFileSync(join(directory, 'ca.pem'), ca.pem, { mode: 0o600 })
  const mine = join(temporaryDirectory(), 'token')
  writeFileSync(mine, `claw_${'x'.repeat(32)}`, { mode: 0o600 })
  const run: RunFile = {
    gateway: identityOf(process.pid),
    url: server.url.origin,
    ca: join(directory, 'ca.pem'),
    adminTokenFile: join(directory, 'admin.token'),
  }

  writeRunFile(directory, run)
  for (const [name, flags, env] of [
    ['--token-file', ['--token-file', mine], {}],
    ['CLAW_TOKEN_FILE', [], { CLAW_TOKEN_FILE: mine }],
    ['CLAW_CA', [], { CLAW_CA: join(directory, 'ca.pem') }],
  ] as const) {
    const asked = await claw(['node', 'ls', ...flags], { cwd, env })
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('E_NO_GATEWAY') })
    expect(asked.stderr).toContain(name)
  }
  writeRunFile(directory, { ...run, adminTokenFile: mine })
  const asked = await claw(['node', 'ls'], { cwd })
  expect(asked).toMatchObject({ code: 78, stderr: expect.stringContaining('E_RUN_FILE') })
  expect(server.handshakes()).toBe(0)
})
