/** Guards of key files. */
import { type Mutation, mutate } from './mutation.ts'

const FILES = ['host', 'host/private-file.test.ts'] as const

export const KEY_FILES: readonly Mutation[] = [
  mutate(
    'a key file is 0644',
    ['host/private-file.ts', 'const PRIVATE = 0o600', 'const PRIVATE = 0o644'],
    FILES,
  ),
  mutate(
    'a key file is wider for a moment',
    ['host/private-file.ts', 'O_EXCL | O_NOFOLLOW, PRIVATE)', 'O_EXCL | O_NOFOLLOW, 0o666)'],
    ['host', 'findings/private-file-window.test.ts'],
  ),
  mutate(
    'a private directory is 0755',
    [
      'host/private-file.ts',
      'mkdirSync(path, { recursive: true, mode: 0o700 })',
      'mkdirSync(path, { recursive: true, mode: 0o755 })',
    ],
    FILES,
  ),
  mutate(
    'an open directory is accepted',
    [
      'host/private-file.ts',
      "if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can open it',",
      "if (status.mode < 0) throw unsafe(path, 'others can open it',",
    ],
    FILES,
  ),
  mutate(
    'a symlink is read',
    ['host/private-file.ts', 'constants.O_RDONLY | constants.O_NOFOLLOW |', 'constants.O_RDONLY |'],
    FILES,
  ),
  mutate(
    'a file that others can read is accepted',
    [
      'host/private-file.ts',
      "if ((status.mode & OTHERS) !== 0) throw unsafe(path, 'others can read it',",
      "if (status.mode < 0) throw unsafe(path, 'others can read it',",
    ],
    FILES,
  ),
  mutate(
    'creating overwrites',
    [
      'host/private-file.ts',
      'linkSync(temporary, path)',
      'renameSync(temporary, path); writeExclusively(temporary, content)',
    ],
    [...FILES, 'overwrites'],
  ),
  mutate(
    'a failed write leaves its half behind',
    ['host/private-file.ts', 'rmSync(temporary, { force: true })\n    throw error', 'throw error'],
    [...FILES, 'failed write'],
  ),
  mutate(
    'a malformed key is repeated',
    ['agent/node-keys.ts', 'throw damaged(path)', 'throw damaged(path + text)'],
    ['host', 'agent/node-files.test.ts', 'refused without a word'],
  ),
]
