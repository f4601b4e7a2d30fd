import type { D1Migration } from 'cloudflare:test'
import type { Env as GatewayBindings } from '../../durable-objects/env.ts'

declare global {
  namespace Cloudflare {
    interface Env extends GatewayBindings {
      readonly TEST_ADMIN_TOKEN: string
      readonly TEST_MIGRATIONS: D1Migration[]
    }
    interface GlobalProps {
      mainModule: typeof import('../../worker/index.ts')
    }
  }
}
