package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whatever ends a run, a signal in the middle of it or a command that fails,
// takes the emulator and all that the command has started with it, and the status
// tells which it was. It runs with `make test-deployed`.
func TestEmulatorEnds(t *testing.T) {
	if os.Getenv("SITOO_RULE_DEPLOYED") == "" {
		return
	}
	t.Chdir("../..")
	// A grandchild that would outlive its parent, and the emulator by its port.
	const command = `sleep 1000 & echo "$! $AWS_ENDPOINT_URL"; `
	for name, tt := range map[string]struct {
		then   string
		signal syscall.Signal
		want   int
	}{
		"the command ends":  {"exit 0", 0, 0},
		"the command fails": {"exit 7", 0, 7},
		"interrupted":       {"wait", syscall.SIGINT, 130},
		"told to end":       {"wait", syscall.SIGTERM, 143},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := exec.CommandContext(t.Context(), ".ci/with-emulator", "bash", "-c", command+tt.then)
			// No group of this test's own gets the signal: what a terminal or
			// another program sends reaches the script alone.
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			child, endpoint, _ := strings.Cut(strings.TrimSpace(line), " ")
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if tt.signal != 0 {
				if err := c.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			err = c.Wait()
			status := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				status = exit.ExitCode()
			}
			if status != tt.want {
				t.Errorf("status %d (%v), want %d", status, err, tt.want)
			}
			// It is gone, or about to be collected by its new parent.
			for range 100 {
				if syscall.Kill(pid, 0) != nil || zombie(pid) {
					break
				}
				<-time.After(20 * time.Millisecond)
			}
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				t.Errorf("the command's child %d goes on", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if reachable(endpoint) {
				t.Errorf("the emulator at %s goes on", endpoint)
			}
		})
	}
}

// zombie reports whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// reachable reports whether something listens at an address.
func reachable(url string) bool {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
