//go:build unix

// Package pgtest gives tests a real PostgreSQL: a throw-away cluster of Debian's binaries, one per test
// binary, and in it a fresh database per test. It listens on a socket in a temporary directory only.
//
// A package that uses it calls Main from its TestMain. Start reading at Main and URL.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const install = "PostgreSQL's server is not installed; install it (Debian, Ubuntu: apt-get install postgresql), or put its bin directory into TOCSIN_TEST_POSTGRES_BIN"

// cluster is the server of this test binary.
type cluster struct {
	dir  string
	stop func()
	err  error
}

var (
	once    sync.Once
	server  cluster
	created atomic.Int64
)

// Main runs the tests and then stops the server, if a test started it. It returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if server.stop != nil {
		server.stop()
	}
	return code
}

// URL returns the URL of a new, empty database. Without PostgreSQL's binaries the test is skipped, or fails
// where CI is set or TOCSIN_TEST_POSTGRES is "require".
func URL(t testing.TB) string {
	t.Helper()
	bin := binaries()
	if bin == "" {
		if os.Getenv("CI") != "" || os.Getenv("TOCSIN_TEST_POSTGRES") == "require" {
			t.Fatal(install)
		}
		t.Skip(install)
	}
	once.Do(func() { server = start(bin) })
	if server.err != nil {
		t.Fatalf("start PostgreSQL: %v", server.err)
	}
	name := "t" + strconv.FormatInt(created.Add(1), 10)
	if err := execute(server.dir, "postgres", "create database "+name); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	return dsn(server.dir, name)
}

// Terminate ends all connections to the database at url but its own, as a server's restart does.
func Terminate(t testing.TB, dsn string) {
	t.Helper()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(server.dir, "postgres", fmt.Sprintf("select pg_terminate_backend(pid) from pg_stat_activity where datname = '%s'", c.Database)); err != nil {
		t.Fatalf("end the connections: %v", err)
	}
}

func dsn(dir, name string) string {
	return "postgres:///" + name + "?" + url.Values{"host": {dir}, "user": {"postgres"}}.Encode()
}

func execute(dir, database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn(dir, database))
	if err != nil {
		return err
	}
	defer c.Close(ctx) //nolint:errcheck // the statement's error counts
	_, err = c.Exec(ctx, sql)
	return err
}

// binaries returns the directory of the newest server, "" if there is none.
func binaries() string {
	if dir := os.Getenv("TOCSIN_TEST_POSTGRES_BIN"); dir != "" {
		return dir
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1])
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// version is the major version in a path of Debian's: /usr/lib/postgresql/17/bin/postgres.
func version(path string) int {
	v, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return v
}

func start(bin string) cluster {
	// Not in the test's own directory: a socket's path must be short.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return cluster{err: err}
	}
	fail := func(err error) cluster {
		os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		return cluster{err: err}
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return fail(err)
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("initdb: %w\n%s", err, out))
	}
	postgres := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=50", "-c", "deadlock_timeout=200ms")
	postgres.Dir, postgres.SysProcAttr = dir, attr
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return fail(err)
	}
	defer log.Close() //nolint:errcheck // the server has its own
	postgres.Stdout, postgres.Stderr = log, log
	ended, err := run(postgres)
	if err != nil {
		return fail(err)
	}
	stop := func() {
		postgres.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // it may have ended
		<-ended
		os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	}
	if err := await(dir, ended); err != nil {
		said, _ := os.ReadFile(log.Name())
		stop()
		return cluster{err: fmt.Errorf("%w\n%s", err, said)}
	}
	return cluster{dir: dir, stop: stop}
}

// run starts the server so that it ends with this process, even if that is killed: the signal of a parent's
// death belongs to the thread that started the child, so that thread is kept.
func run(server *exec.Cmd) (ended chan struct{}, err error) {
	started := make(chan error)
	ended = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := server.Start()
		started <- err
		if err == nil {
			server.Wait() //nolint:errcheck // it is told to end
		}
		close(ended)
	}()
	return ended, <-started
}

// await returns when the server answers.
func await(dir string, ended chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		if execute(dir, "postgres", "select 1") == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("the server ended at once")
		case <-limit:
			return errors.New("the server did not answer within 30 s")
		case <-tick.C:
		}
	}
}

// unprivileged returns how to start the server, which refuses to run as root: then as the user postgres or
// nobody, who is given dir.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := endsWithParent()
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: %w", err)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // both come from the system
	return attr, os.Chown(dir, uid, gid)
}
