// Box is all that is in the test containers: one end of a TCP connection, or the other.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

const patience = 2 * time.Second

func main() {
	usage := "box serve PORT | box ask HOST:PORT TEXT | box hold HOST:PORT FILE | box show FILE"
	var err error
	switch words := os.Args[1:]; {
	case len(words) == 2 && words[0] == "serve":
		err = serve(words[1])
	case len(words) == 3 && words[0] == "ask":
		err = ask(words[1], words[2])
	case len(words) == 3 && words[0] == "hold":
		err = hold(words[1], words[2])
	case len(words) == 2 && words[0] == "show":
		err = show(words[1])
	default:
		err = fmt.Errorf("usage: %s", usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve says back whatever it is told, until it is stopped.
func serve(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}

// ask prints the answer to one line. It fails if there is none in time.
func ask(address, text string) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(connection, text)
	answer, err := bufio.NewReader(connection).ReadString('\n')
	fmt.Print(answer)
	return err
}

// hold keeps one connection, counts on it, and leaves the last number that came back in a file.
func hold(address, file string) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	answers := bufio.NewReader(connection)
	for number := 1; ; number++ {
		if _, err := fmt.Fprintln(connection, number); err != nil {
			return err
		}
		if _, err := answers.ReadString('\n'); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(number)), 0o600); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func show(file string) error {
	content, err := os.ReadFile(file)
	fmt.Print(string(content))
	return err
}
