import { until } from './until.ts'

/**
 * The status of an answer, other than 503. A node on a busy machine may not hear from all live
 * members within the 300 ms that design section 5 gives them; then it says so, and is asked again.
 */
export async function sureStatus(url: string, init: RequestInit = {}): Promise<number> {
  return await until(
    async () => {
      const response = await fetch(url, init)
      await response.arrayBuffer()
      return response.status !== 503 && response.status
    },
    { what: `a sure answer from ${url}` }
  )
}
