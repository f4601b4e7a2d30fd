/** The block in /etc/hosts: on real files, with what machines have there. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type HostsLine, withBlock } from '../../agent/dns/hosts-block.ts'
import { HostsFile } from '../../agent/dns/hosts-file.ts'
import { takeProcessLock } from '../../host/process-lock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FOREIGN = '127.0.0.1\tlocalhost\n::1 ip6-localhost # caf\xe9\n'
const LINES: HostsLine[] = [
  { address: '10.100.0.2', name: 'gpu.lab.internal' },
  { address: 'fd00::2', name: 'gpu.lab.internal' },
]
const BLOCK =
  '# BEGIN clawnode claw0\n10.100.0.2\tgpu.lab.internal\nfd00::2\tgpu.lab.internal\n# END clawnode claw0\n'

describe('the block', () => {
  test('comes last, is replaced where it stands, and goes without a trace', () => {
    const with0 = withBlock(FOREIGN, 'claw0', LINES)
    expect(with0).toBe(FOREIGN + BLOCK)
    const changed = withBlock(`${with0}10.0.0.9 later\n`, 'claw0', LINES.slice(1))
    expect(changed).toBe(`${FOREIGN}${BLOCK.replace('10.100.0.2\tgpu.lab.internal\n', '')}10.0.0.9 later\n`)
    expect(withBlock(changed, 'claw0', [])).toBe(`${FOREIGN}10.0.0.9 later\n`)
  })

  test('begins on a line of its own', () => {
    expect(withBlock('127.0.0.1 localhost', 'claw0', LINES)).toBe(`127.0.0.1 localhost\n${BLOCK}`)
    expect(withBlock('', 'claw0', LINES)).toBe(BLOCK)
  })

  test('of another interface is not touched, also if its name begins alike', () => {
    const both = withBlock(withBlock(FOREIGN, 'claw0', LINES), 'claw01', LINES)
    expect(withBlock(both, 'claw0', [])).toBe(withBlock(FOREIGN, 'claw01', LINES))
    expect(withBlock(both, 'claw01', [])).toBe(withBlock(FOREIGN, 'claw0', LINES))
    // Two agents that each look whether all is as it should be find that it is.
    expect(withBlock(both, 'claw0', LINES)).toBe(both)
    expect(withBlock(both, 'claw01', LINES)).toBe(both)
  })

  test('that somebody has edited loses what is ours and keeps what is theirs', () => {
    const edited = BLOCK.replace('fd00', '10.9.9.9 theirs.example\nfd00')
    expect(withBlock(FOREIGN + edited, 'claw0', [])).toBe(`${FOREIGN}10.9.9.9 theirs.example\n`)
    const endless = `${BLOCK.replace('# END clawnode claw0\n', '')}10.9.9.9 theirs.example\n`
    expect(withBlock(FOREIGN + endless, 'claw0', [])).toBe(`${FOREIGN}10.9.9.9 theirs.example\n`)
    expect(withBlock(BLOCK.replaceAll('\n', '\r\n'), 'claw0', [])).toBe('')
    expect(withBlock(BLOCK + FOREIGN + BLOCK, 'claw0', LINES)).toBe(BLOCK + FOREIGN)
  })

  test('leaves every other line as it is, byte for byte, whatever the file holds', () => {
    const line = fc.oneof(
      fc.constantFrom(
        '',
        '\r',
        '# BEGIN clawnode claw1',
        '# END clawnode claw1',
        '10.1.2.3\ta.b.internal',
        '# END claw',
      ),
      fc
        .uint8Array({ maxLength: 20 })
        .map((bytes) => Buffer.from(bytes).toString('latin1').replaceAll('\n', '')),
    )
    fc.assert(
      fc.property(fc.array(line), fc.boolean(), (lines, ends) => {
        const text = lines.join('\n') + (ends ? '\n' : '')
        const put = withBlock(text, 'claw0', LINES)
        const whole = text === '' || text.endsWith('\n') ? text : `${text}\n`
        expect(put).toBe(whole + BLOCK)
        expect(withBlock(put, 'claw0', LINES)).toBe(put)
        expect(withBlock(put, 'claw0', [])).toBe(whole)
      }),
    )
  })
})

function open(content: string | null = FOREIGN) {
  const directory = temporaryDirectory()
  const etc = join(directory, 'etc')
  mkdirSync(etc)
  const path = join(etc, 'hosts')
  if (content !== null) writeFileSync(path, content, 'latin1')
  const lock = join(directory, 'lock')
  const file = new HostsFile({ hosts: path, lock })
  return { etc, path, lock, file, read: () => readFileSync(path, 'latin1') }
}

const written = { ok: true, value: 'written' }
const failure = (text: string) => ({ ok: false, error: expect.stringContaining(text) })

describe('the file', () => {
  test('is replaced, with its mode and owner', () => {
    const { etc, path, file, read } = open()
    chmodSync(path, 0o640)
    if (process.getuid?.() === 0) execFileSync('chown', ['1234:4321', path])
    const before = statSync(path)
    expect(file.setBlock('claw0', LINES)).toEqual(written)
    const after = statSync(path)
    expect(read()).toBe(FOREIGN + BLOCK)
    expect(after.ino).not.toBe(before.ino)
    expect([after.mode, after.uid, after.gid]).toEqual([before.mode, before.uid, before.gid])
    expect(file.setBlock('claw0', [])).toEqual(written)
    expect(read()).toBe(FOREIGN)
    expect(readdirSync(etc)).toEqual(['hosts'])
  })

  test('is not written when nothing changes', () => {
    const { path, file } = open()
    file.setBlock('claw0', LINES)
    const { ino, mtimeMs, ctimeMs } = statSync(path)
    expect(file.setBlock('claw0', LINES)).toEqual({ ok: true, value: 'unchanged' })
    expect(statSync(path)).toMatchObject({ ino, mtimeMs, ctimeMs })
  })

  test('that is a symbolic link stays one, and its target is changed', () => {
    const { etc, path, file } = open(null)
    const target = join(etc, 'target')
    writeFileSync(target, FOREIGN, 'latin1')
    symlinkSync('target', path)
    expect(file.setBlock('claw0', LINES)).toEqual(written)
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(readFileSync(target, 'latin1')).toBe(FOREIGN + BLOCK)
  })

  test('that has a second name is written in place, for both', () => {
    const { etc, path, file, read } = open()
    linkSync(path, join(etc, 'second'))
    expect(file.setBlock('claw0', LINES)).toEqual(written)
    expect(readFileSync(join(etc, 'second'), 'latin1')).toBe(read())
    expect(file.setBlock('claw0', [])).toEqual(written)
    expect(readFileSync(join(etc, 'second'), 'latin1')).toBe(FOREIGN)
  })

  test.skipIf(process.getuid?.() !== 0)('that is mounted, as in a container, is written in place', () => {
    const { etc, path, file, read } = open()
    const outside = join(etc, 'outside')
    writeFileSync(outside, FOREIGN, 'latin1')
    execFileSync('mount', ['--bind', outside, path])
    onTestFinished(() => void execFileSync('umount', [path]))
    expect(file.setBlock('claw0', LINES)).toEqual(written)
    expect(read()).toBe(FOREIGN + BLOCK)
    expect(file.setBlock('claw0', [])).toEqual(written)
    expect(readFileSync(outside, 'latin1')).toBe(FOREIGN)
    expect(readdirSync(etc).sort()).toEqual(['hosts', 'outside'])
  })

  test('that is not a regular file is left alone', () => {
    const { path, file } = open(null)
    expect(file.setBlock('claw0', LINES)).toEqual(failure('ENOENT'))
    mkdirSync(path)
    expect(file.setBlock('claw0', LINES)).toEqual(failure('not a regular file'))
    const pipe = open(null)
    execFileSync('mkfifo', [pipe.path])
    expect(pipe.file.setBlock('claw0', LINES)).toEqual(failure('not a regular file'))
  })

  test('that is enormous is left alone', () => {
    const { path, file } = open()
    truncateSync(path, 16 * 1024 * 1024 + 1)
    expect(file.setBlock('claw0', LINES)).toEqual(failure('more than 16777216 bytes'))
  })

  test('is one agent’s at a time', () => {
    const { lock, file, read } = open()
    const held = takeProcessLock(lock)
    expect(file.setBlock('claw0', LINES)).toEqual(failure('another agent'))
    expect(read()).toBe(FOREIGN)
    held?.close()
    expect(file.setBlock('claw0', LINES)).toEqual(written)
  })

  test('of an agent that was killed while it wrote is no obstacle', () => {
    const { etc, file, read } = open()
    writeFileSync(join(etc, '.hosts.clawnode'), 'half')
    expect(file.setBlock('claw0', LINES)).toEqual(written)
    expect(read()).toBe(FOREIGN + BLOCK)
    expect(readdirSync(etc)).toEqual(['hosts'])
  })
})
