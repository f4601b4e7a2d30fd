/** Lines about modes of files. */
import type { Entry } from './entry.ts'

const FILES = 'host/private-file.test.ts'

export const FILE_MODES: Readonly<Record<string, Entry>> = {
  'M2.1': {
    proofs: [
      [
        FILES,
        'under umask %s > a written file is 0600',
        'under umask %s > a created file is 0600',
        'creating never overwrites, not even a dangling symlink',
        'a file that others could read is closed to them when it is replaced',
      ],
      [
        'findings/private-file-window.test.ts',
        'under umask %s > %s creates no file that others could open for a moment',
      ],
      ['agent/node-files.test.ts', 'key files > are 0600 under umask %o, and the same keys come back (M-2)'],
    ],
  },
  'M2.2': {
    proofs: [
      [FILES, 'under umask %s a directory is 0700, and so is each made on the way'],
      ['cli/up.test.ts', 'the first start makes everything, private, and serves over its own CA'],
      [
        'agent/join.test.ts',
        'clawnode join > keeps keys and state, each 0600 in a directory of 0700, with the CA from the token',
      ],
      [
        'findings/hygiene.test.ts',
        'the one way (L2.2, M2.1, H1.5) > to write a file of agent and CLI is the module of private files',
      ],
    ],
  },
  'M2.3': {
    proofs: [
      [
        FILES,
        'reading refuses > mode %s, and says how to mend it',
        'reading refuses > a symlink',
        'reading refuses > a directory and a pipe, without waiting',
        'a directory is refused > with mode %s, and says how to mend it',
        'a directory is refused > that is a symlink',
      ],
      ['agent/node-files.test.ts', 'key files > that others can read, or that are links, are refused'],
    ],
  },
  'M2.4': {
    proofs: [
      [FILES, 'a failed write leaves nothing behind', 'content comes back as it was written'],
      [
        'agent/node-files.test.ts',
        'key files > that cannot be saved end it there, and leave nothing behind',
        'key files > that are %s are refused without a word of their content',
        'key files > hold 32 bytes in base64 and a line feed; other white space at the end is tolerated',
      ],
    ],
  },
  'M2.5': {
    proofs: [
      [
        'agent/node-files.test.ts',
        'key files > are 0600 under umask %o, and the same keys come back (M-2)',
        'key files > of another directory are other keys',
      ],
    ],
  },
}
