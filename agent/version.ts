/** As the gateway and `clawnode version` show it. */
export const AGENT_VERSION = 'clawnode/0.1.0'
