/** Keeps a phone's screen on during a call, where the browser knows how; returns how to let go. */
export function keepAwake(): () => void {
  let lock: WakeLockSentinel | null = null;
  let released = false;
  const acquire = async () => {
    if (document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    lock = await navigator.wakeLock.request("screen").catch(() => null);
    if (released) void lock?.release();
  };
  void acquire();
  // The browser drops the lock with the page's visibility.
  document.addEventListener("visibilitychange", acquire);
  return () => {
    released = true;
    document.removeEventListener("visibilitychange", acquire);
    void lock?.release();
  };
}
