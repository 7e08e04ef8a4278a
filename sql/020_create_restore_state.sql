CREATE TABLE IF NOT EXISTS `restore_state` (
  `id` TINYINT UNSIGNED NOT NULL,
  `number` BIGINT UNSIGNED NOT NULL,
  `sha256` BINARY(32) NOT NULL,
  `anchored_size` BIGINT UNSIGNED NOT NULL,
  `restored_size` BIGINT UNSIGNED NOT NULL,
  `base_size` BIGINT UNSIGNED NOT NULL,
  `base_root` BINARY(32) NOT NULL,
  `restored_at` DATETIME(6) NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `restore_state_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
