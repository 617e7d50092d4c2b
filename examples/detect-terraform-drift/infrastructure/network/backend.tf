terraform {
  backend "http" {} # the address comes from the check, one for each directory
}
