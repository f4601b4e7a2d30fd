/** Lines about errors and logs. */
import type { Entry } from './entry.ts'

const WALLET = 'wallet not built yet'
const TAILSCALE = 'Tailscale integration not built yet'

export const ERRORS: Readonly<Record<string, Entry>> = {
  'M3.1': { open: TAILSCALE },
  'M3.2': { open: TAILSCALE },
  'M3.3': {
    proofs: [
      [
        'mesh/exec.test.ts',
        'running a command > a failure names program and status, and neither arguments nor input (M3.3)',
      ],
    ],
  },
  'M3.4': {
    proofs: [
      ['e2e/canary.test.ts', 'nothing that was secret is anywhere it should not be'],
      [
        'cli/secret.test.ts',
        'set and get > a value is never an argument, a name never nonsense, a file never too large, an age file never of a managed one',
      ],
    ],
  },
  'M3.5': { open: TAILSCALE },
  'M3.6': {
    proofs: [
      [
        'findings/outside.test.ts',
        'a refusal > repeats nothing of the request and tells nothing of the inside, whatever was wrong (M3.6)',
      ],
      ['gateway/enrol.test.ts', 'enrolment > names the wrong fields of a body, and echoes nothing'],
      ['cli/commands.test.ts', 'where the gateway is > a wrong admin token is not repeated'],
      ['fuzz/frames.test.ts', 'the agent reads from the gateway > and logs nothing of what a frame says'],
      [
        'fuzz/proofs.test.ts',
        'a join token > is not found in what is none, and the refusal repeats nothing of it',
      ],
    ],
  },
  'M3.7': {
    proofs: [
      ['gateway/enrol.test.ts', 'enrolment > tells malformed, unknown, expired and revoked tokens apart'],
      [
        'gateway/session.test.ts',
        'the upgrade > needs a proof by an enrolled node, for this gateway, method and path, within its minute, once',
      ],
      ['agent/join.test.ts', 'a refusal of the gateway is shown with its code and request'],
    ],
  },
  'L1.1': { open: WALLET },
  'L1.2': { open: WALLET },
  'L1.3': { open: WALLET },
  'L1.4': { open: WALLET },
  'L2.1': {
    proofs: [
      [
        'findings/session-log.test.ts',
        'a session from its first frame to its last leaves no whole id in any log, at any level',
      ],
      [
        'agent/log.test.ts',
        'log > shows eight characters of a session id, wherever it comes in, at every level (L-2)',
      ],
      ['agent/run.test.ts', 'clawnode run > logs JSON lines without a word of any key, token or proof'],
    ],
  },
  'L2.2': {
    proofs: [
      [
        'findings/secret-forms.test.ts',
        'a masked id (L2.2) > shows eight characters however it is printed, and nothing of one that has no more (L2.3)',
      ],
      [
        'findings/hygiene.test.ts',
        'the one way (L2.2, M2.1, H1.5) > to log is the agent’s logger: nothing else of it writes to standard error',
      ],
      ['agent/log.test.ts', 'log > shows no token and no key'],
    ],
  },
  'L2.3': {
    proofs: [
      [
        'findings/secret-forms.test.ts',
        'a masked id (L2.2) > shows eight characters however it is printed, and nothing of one that has no more (L2.3)',
      ],
      ['agent/log.test.ts', 'log > never throws on odd text'],
    ],
  },
}
