import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMetrics } from '../src/metrics.ts'

test('every metric that scripts rely on is there from the start', async () => {
  const metrics = openMetrics()
  const text = await metrics.text()
  metrics.close()
  const kinds = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name, kind])
  )
  assert.equal(kinds.get('starling_ready'), 'gauge')
  assert.equal(kinds.get('starling_disk_state'), 'gauge')
  assert.equal(kinds.get('starling_disk_free_bytes'), 'gauge')
  assert.equal(kinds.get('starling_peers'), 'gauge')
  assert.equal(kinds.get('starling_blobs_held'), 'gauge')
  assert.equal(kinds.get('starling_blobs_missing'), 'gauge')
  assert.equal(kinds.get('starling_under_replicated_images'), 'gauge')
  assert.equal(kinds.get('starling_bytes_received_total'), 'counter')
  assert.equal(kinds.get('starling_bytes_sent_total'), 'counter')
  assert.equal(kinds.get('starling_replication_seconds'), 'histogram')
  assert.equal(kinds.get('starling_http_request_seconds'), 'histogram')
  assert.equal(kinds.get('starling_event_loop_delay_seconds'), 'gauge')
  assert.equal(kinds.get('process_resident_memory_bytes'), 'gauge')
})

test('two nodes in one process count apart', async () => {
  const one = openMetrics()
  const other = openMetrics()
  one.bytesSent.inc({ plane: 'transfer' }, 5)
  const line = 'starling_bytes_sent_total{plane="transfer"} 5'
  assert.ok((await one.text()).includes(line))
  assert.ok(!(await other.text()).includes(line))
  one.close()
  other.close()
})
