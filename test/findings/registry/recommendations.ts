/** Lines about the recommendations. */
import type { Entry } from './entry.ts'

const WALLET = 'wallet not built yet'

export const RECOMMENDATIONS: Readonly<Record<string, Entry>> = {
  R1: { by: ['H1.1', 'H1.2', 'H1.5', 'H1.8'] },
  R2: { by: ['H1.1', 'H1.3'] },
  R3: { by: ['M2.1', 'M2.2', 'M2.3', 'M2.4', 'M2.5'] },
  R4: { by: ['M1.1', 'M1.2', 'M1.3', 'M1.4', 'M1.5', 'M1.6', 'M1.7'] },
  R5: { by: ['M3.3', 'M3.4', 'M3.6', 'M3.7'] },
  R6: { open: WALLET },
  R7: { by: ['L2.1', 'L2.2', 'L2.3'] },
  R8: {
    proofs: [
      [
        'findings/transport.test.ts',
        'clawnode > tells all that is wrong at once, before anything is sent or written (R8)',
        'clawnode > shows its configuration without the pins and without a password (R8)',
      ],
      [
        'gateway/edge.test.ts',
        'the edge > answers 503 while a binding or secret is missing or malformed, on every route',
      ],
      ['cli/up.test.ts', 'wrong flags are all named before anything is touched'],
    ],
  },
}
