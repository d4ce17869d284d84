// The container's health check: exits 0 when /api/health is 200.
const response = await fetch(`http://127.0.0.1:${process.env.PORT ?? 3101}/api/health`, { signal: AbortSignal.timeout(5000) });
if (!response.ok) {
  console.error(await response.text());
  process.exit(1);
}
