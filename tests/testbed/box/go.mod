module box

go 1.21
