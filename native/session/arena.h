// The memory of a session's tensors, between two pages that nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace oaq {

class Arena {
 public:
  // Room for `bytes` and kSlack more, which end exactly where the untouchable page starts: a read or write past them
  // stops the process instead of going unnoticed.
  explicit Arena(std::size_t bytes);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::size_t mapped_;
  std::uint8_t* pages_;
  std::uint8_t* data_;
};

}  // namespace oaq
