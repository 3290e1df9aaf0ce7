import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, startProgram } from './program.ts'
import type { Rival } from './rival.ts'

/**
 * Debian's nginx as a server of static files, with sendfile; it serves what lies below `dataDir`,
 * and stores what is PUT there: neither verified nor synced, so it is a bound and no rival in that.
 */
export async function startNginx(dir: string): Promise<Rival> {
  const name = 'nginx'
  const dataDir = join(dir, name)
  const config = join(dir, `${name}.conf`)
  const port = await freePort()
  await mkdir(dataDir, { recursive: true })
  await writeFile(config, configOf(dir, dataDir, port))
  // Absolute, since Debian keeps it outside of the path of ordinary users.
  const program = await startProgram(
    '/usr/sbin/nginx',
    ['-p', dir, '-c', config, '-e', join(dir, `${name}.log`)],
    port,
    join(dir, `${name}.log`)
  )
  return { name, port, dataDir, ...program }
}

function configOf(dir: string, dataDir: string, port: number): string {
  const isRoot = process.getuid?.() === 0
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off;
${isRoot ? 'user root;' : ''}
worker_processes auto;
pid ${dir}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=1000;
  default_type application/octet-stream;
  ${temporary.map(each => `${each}_temp_path ${dir}/nginx-${each};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    root ${dataDir};
    client_max_body_size 0;
    dav_methods PUT;
    create_full_put_path on;
  }
}
`
}
