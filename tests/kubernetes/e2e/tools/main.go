// What Kubernetes' end-to-end tests call in pods and agnhost's image has from Alpine: curl, nc and wget, as far as the tests of
// load balancers use them, in one static program that goes by its name; and a shell that finds them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit statuses of curl(1).
const (
	couldNotConnect = 7
	timedOut        = 28
	anythingElse    = 1
	misused         = 2
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "curl":
		os.Exit(curl(os.Args[1:]))
	case "nc":
		os.Exit(nc(os.Args[1:]))
	case "wget":
		os.Exit(wget(os.Args[1:]))
	case "sh":
		err := shell(os.Args)
		fmt.Fprintln(os.Stderr, "busybox:", err)
		os.Exit(misused)
	}
	fmt.Fprintln(os.Stderr, "to be called as curl, nc, wget or sh")
	os.Exit(misused)
}

// Becomes the shell of busybox, which would take its own nc and wget before those of the path; functions go before both.
func shell(arguments []string) error {
	for i, argument := range arguments[:len(arguments)-1] {
		if argument == "-c" {
			arguments[i+1] = `nc() { /usr/bin/nc "$@"; }; wget() { /usr/bin/wget "$@"; }; ` + arguments[i+1]
		}
	}
	arguments[0] = "sh"
	return syscall.Exec("/bin/busybox", arguments, os.Environ())
}

func curl(arguments []string) int {
	var url, output, format string
	var connect, whole time.Duration
	for i := 0; i < len(arguments); i++ {
		next := func() string {
			i++
			if i >= len(arguments) {
				return ""
			}
			return arguments[i]
		}
		switch argument := arguments[i]; argument {
		case "-g", "-q", "-s":
		case "-o":
			output = next()
		case "-w":
			format = next()
		case "--connect-timeout":
			connect = seconds(next())
		case "--max-time":
			whole = seconds(next())
		default:
			if strings.HasPrefix(argument, "-") {
				fmt.Fprintf(os.Stderr, "curl: no option %s here\n", argument)
				return misused
			}
			url = argument
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	dialer := net.Dialer{Timeout: connect}
	client := http.Client{
		Timeout:   whole,
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	status, err := get(&client, url, output)
	fmt.Print(strings.ReplaceAll(format, "%{http_code}", fmt.Sprintf("%03d", status)))
	return exitStatus(err)
}

// As `wget -T SECONDS -qO- URL`.
func wget(arguments []string) int {
	client, url := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, ""
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; argument {
		case "-T":
			if i++; i < len(arguments) {
				client.Timeout = seconds(arguments[i])
			}
		case "-qO-":
		default:
			url = "http://" + strings.TrimPrefix(argument, "http://")
		}
	}
	status, err := get(&client, url, "")
	if err == nil && status >= http.StatusBadRequest {
		err = fmt.Errorf("the server answers %d", status)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return anythingElse
	}
	return 0
}

// Returns the answer's status, 0 without an answer.
func get(client *http.Client, url, output string) (int, error) {
	answer, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	out := os.Stdout
	if output != "" {
		if out, err = os.Create(output); err != nil {
			return answer.StatusCode, err
		}
		defer out.Close()
	}
	_, err = io.Copy(out, answer.Body)
	return answer.StatusCode, err
}

func exitStatus(err error) int {
	var network net.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return timedOut
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return couldNotConnect
	}
	fmt.Fprintln(os.Stderr, err)
	return anythingElse
}

func nc(arguments []string) int {
	network, wait := "tcp", time.Duration(0)
	var rest []string
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; argument {
		case "-v", "-t":
		case "-u":
			network = "udp"
		case "-w":
			if i++; i < len(arguments) {
				wait = seconds(arguments[i])
			}
		default:
			rest = append(rest, argument)
		}
	}
	if len(rest) != 2 {
		fmt.Fprintln(os.Stderr, "nc: a host and a port are needed")
		return misused
	}
	connection, err := net.DialTimeout(network, net.JoinHostPort(rest[0], rest[1]), wait)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return anythingElse
	}
	defer connection.Close()
	if _, err := io.Copy(connection, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return anythingElse
	}
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	// UDP has no end but silence.
	connection.SetReadDeadline(time.Now().Add(wait))
	if _, err := io.Copy(os.Stdout, connection); err != nil && network == "tcp" {
		fmt.Fprintln(os.Stderr, err)
		return anythingElse
	}
	return 0
}

func seconds(text string) time.Duration {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%q is no number of seconds\n", text)
		os.Exit(misused)
	}
	return time.Duration(number * float64(time.Second))
}
