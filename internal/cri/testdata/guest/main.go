// Command guest is what the containers of this package's tests run: each of its
// verbs does one small thing that a test looks at.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("a verb is needed")
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "echo": // TO-STDOUT TO-STDERR
		fmt.Println(args[0])
		fmt.Fprintln(os.Stderr, args[1])
	case "raw": // TEXT, as it is
		fmt.Print(args[0])
	case "exit": // CODE
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
		fmt.Println("end of input")
	case "wait": // until SIGTERM, and says so
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGUSR1)
		fmt.Println("waiting")
		fmt.Println("got", <-ch)
	case "stubborn": // ignores SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("waiting")
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(time.Hour)
	case "children": // leaves a sleeping child that holds the output
		cmd := exec.Command("/guest", "sleep")
		cmd.Stdout = os.Stdout
		check(cmd.Start())
		fmt.Println("started")
	case "eat": // MIB of memory
		n, _ := strconv.Atoi(args[0])
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("ate", len(b))
	case "who":
		groups, _ := os.Getgroups()
		slices.Sort(groups)
		host, _ := os.Hostname()
		dir, _ := os.Getwd()
		fmt.Println(os.Getuid(), os.Getgid(), groups, host, dir, os.Getpid())
	case "env":
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
	case "read": // FILE...
		for _, name := range args {
			b, err := os.ReadFile(name)
			if err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Print(string(b))
		}
	case "write": // FILE TEXT
		if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
			fail(err.Error())
		}
	case "status": // a line of /proc/self/status
		f, err := os.Open("/proc/self/status")
		check(err)
		for s := bufio.NewScanner(f); s.Scan(); {
			if strings.HasPrefix(s.Text(), args[0]+":") {
				fmt.Println(strings.TrimSpace(strings.TrimPrefix(s.Text(), args[0]+":")))
			}
		}
	case "try": // a system call by name
		fmt.Println(try(args[0]))
	case "listen": // PORT: answers each line with the line
		l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
		check(err)
		fmt.Println("listening")
		for {
			c, err := l.Accept()
			check(err)
			go func() { io.Copy(c, c); c.Close() }()
		}
	case "tty":
		var size [4]uint16
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, ptr(&size))
		fmt.Println(errno == 0, size[1], size[0])
	case "counts": // prints a number for each line it reads
		n := 0
		for s := bufio.NewScanner(os.Stdin); s.Scan(); n++ {
			fmt.Println(n, s.Text())
		}
	case "ids": // of the namespaces
		for _, ns := range []string{"net", "ipc", "uts", "pid"} {
			link, _ := os.Readlink("/proc/self/ns/" + ns)
			fmt.Println(link)
		}
	case "ls": // DIR
		entries, err := os.ReadDir(args[0])
		check(err)
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	default:
		fail("unknown verb " + os.Args[1])
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}
